"""Volumes: their grid and its space, NIfTI in and out, quality figures, previews."""
