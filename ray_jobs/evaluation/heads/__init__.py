"""Volumes of whole heads: told at the start, and their brains cut out of all sources alike."""
