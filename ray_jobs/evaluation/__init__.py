"""Evaluating releases against a real cohort."""
