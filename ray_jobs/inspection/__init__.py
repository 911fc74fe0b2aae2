"""What lies at a place, of all that brainpress makes, and what is told of it."""
