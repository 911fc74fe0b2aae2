"""What the trainings of the measuring tools share: subjects, augmentation, the run."""
