"""What a GPU is wanted for, in three runs of ten minutes: see README.md."""
