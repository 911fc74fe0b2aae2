"""How good a model or a release is: similarity, distances, coverage, conditioning, privacy."""
