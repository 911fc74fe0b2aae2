"""What a training job reads: a prepared cohort that fits the preset."""

from __future__ import annotations

from pathlib import Path

from ldm.volumes.grid import Grid
from ray_jobs.errors import JobError
from ray_jobs.preparation.cohort import PreparedCohort

VALIDATION_VOLUMES = 32


def training_cohort(folder: str, grid: Grid, preset: str) -> PreparedCohort:
    """The prepared cohort in `folder`, which may be an s3:// URI, on the grid of that preset.

    Raises:
        JobError: none there, a cohort prepared for another grid, or nothing to train on.
    """
    cohort = PreparedCohort.open(folder)
    if not cohort.grid.same_voxels(grid):
        raise JobError(
            f"{folder} is prepared at {cohort.grid.shape}, {cohort.grid.spacing:g} mm; "
            f"preset {preset} wants {grid.shape}, {grid.spacing:g} mm. "
            f"Prepare it with --preset {preset}"
        )
    if not len(cohort.split("train")) or not len(cohort.split("validation")):
        raise JobError(
            f"{folder} has {len(cohort.split('train'))} subjects to train on and "
            f"{len(cohort.split('validation'))} held out; expected at least one of each. "
            "Prepare it with another --validation, or more subjects"
        )
    return cohort


def validation_volumes(cohort: PreparedCohort) -> list[Path]:
    """The held-out volumes that validation reads, `VALIDATION_VOLUMES` at most."""
    return cohort.volumes("validation")[:VALIDATION_VOLUMES]
