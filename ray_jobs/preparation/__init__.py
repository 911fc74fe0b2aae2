"""Preparing a cohort: BIDS in, volumes on the model's grid and a table of subjects out."""
