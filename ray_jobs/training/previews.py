"""What a diffusion training shows of itself: one noise, at rising values of a covariate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ldm import noise
from ldm.covariates import CovariateSchema, Row
from ldm.covariates.distribution import CohortDistribution
from ray_jobs.errors import JobError

if TYPE_CHECKING:
    from ldm.models.latent_diffusion import Model

SAMPLES, STEPS = 5, 25  # in a preview, and their DDIM steps


def preview_covariate(schema: CovariateSchema, asked: str | None) -> str:
    """The continuous covariate that rises along a preview.

    Raises:
        LdmError: no such covariate. JobError: it is not continuous.
    """
    if asked is None:
        names = [c.name for c in schema.continuous]
        if not names:
            return schema.names[-1]
        return "ventricular_volume" if "ventricular_volume" in names else names[-1]
    if not schema[asked].is_continuous:
        raise JobError(f"--preview {asked}: expected a covariate whose values are numbers")
    return asked


def preview_rows(distribution: CohortDistribution, schema: CovariateSchema, name: str) -> list[Row]:
    """One typical subject at rising values of `name`: 5 to 95 % of the cohort's."""
    drawn = [distribution.sample(noise.generator(noise.COVARIATES, 0, i)) for i in range(512)]
    typical: Row = {}
    for covariate in schema.covariates:
        values = [row[covariate.name] for row in drawn]
        if covariate.is_continuous:
            typical[covariate.name] = float(np.median(np.array(values, dtype=float)))
        else:
            typical[covariate.name] = covariate.levels[0]
    if not schema[name].is_continuous:
        return [typical] * SAMPLES
    spread = np.array([row[name] for row in drawn], dtype=float)
    rising = np.quantile(spread, np.linspace(0.05, 0.95, SAMPLES))
    return [{**typical, name: float(f"{value:.4g}")} for value in rising]


def rising_preview(model: Model, rows: Sequence[Row], name: str) -> bytes:
    """PNG of a volume a row, all of the same noise, under its value of `name`."""
    from ldm.volumes.conversion import dequantise
    from ldm.volumes.previews import sweep

    keys: list[tuple[int, ...]] = [(0,)] * len(rows)
    volumes = model.generate(rows, keys, steps=min(STEPS, model.schedule.steps))
    captions = [f"{row[name]}" for row in rows]
    return sweep([dequantise(volume) for volume in volumes], captions, title=name)
