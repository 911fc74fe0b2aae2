"""Running one fit on Ray Train: its identity, workers, record, checkpoints, and how it stops."""
