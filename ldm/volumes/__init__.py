"""Volumes: their grid in MNI space, NIfTI in and out, quality figures, previews."""
