"""Training with differential privacy: what is promised, the noise it takes, and the steps."""
