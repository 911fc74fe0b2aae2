"""Tests of `ray_jobs.evaluation.heads`."""
