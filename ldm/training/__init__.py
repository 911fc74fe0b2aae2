"""Training: the loops, their state and the batches they see, without Ray."""
