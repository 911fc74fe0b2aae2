"""The label maps of a release while they are made: which images lack one, and how it ends."""
