"""What the quality check of a model will accept, fitted to decoded volumes of its cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ldm.contrasts import T1W, suffix_of
from ldm.covariates import CovariateSchema
from ldm.volumes.brain_size import COVARIATE, BrainSize, fit_brain_size
from ldm.volumes.quality import SIZE_ERROR, Bounds, fit_bounds, fit_bounds_by


@dataclass(frozen=True, kw_only=True)
class Checks:
    """As the fields of `ldm.models.description.ModelDescription`."""

    bounds: Bounds
    brain_size: BrainSize | None
    bounds_of: dict[str, Bounds] = field(default_factory=dict)


def fit_checks(
    figures: Sequence[Mapping[str, float]],
    subjects: pd.DataFrame,
    schema: CovariateSchema,
    suffixes: Sequence[str],
) -> Checks:
    """Of decoded volumes of people.

    Args:
        figures: `ldm.volumes.quality.FIGURES` of each.
        subjects: a row each, with the covariates.
        suffixes: the contrasts among them.
    """
    found = [dict(one) for one in figures]
    kinds = [suffix_of(row, suffixes) for row in subjects.to_dict(orient="records")]
    several = len(suffixes) > 1
    # A size is told by how bright tissue is; of several contrasts, of T1w alone.
    sized = np.array([not several or kind == T1W for kind in kinds])
    size = None
    if COVARIATE in {covariate.name for covariate in schema.continuous}:
        known = subjects[COVARIATE].to_numpy(dtype=float)
        there = np.flatnonzero(~np.isnan(known) & sized)  # all, but where one may be left out
        size = fit_brain_size([found[place] for place in there], known[there])
    if size is not None:
        for row, asked, told in zip(found, subjects[COVARIATE], sized, strict=True):
            if told:
                row[SIZE_ERROR] = size.error(row, {COVARIATE: asked})
    return Checks(
        bounds=fit_bounds(found),
        brain_size=size,
        bounds_of=fit_bounds_by(found, kinds) if several else {},
    )
