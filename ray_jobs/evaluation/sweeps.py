"""One covariate varied, the rest and the noise held: what is asked, and what is measured there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ldm.contrasts import MODALITY, T1W
from ldm.covariates import CovariateSchema, Row
from manifests.format.extrapolation import is_extrapolated
from ray_jobs.evaluation.heads.stripped import brain_of
from ray_jobs.generation.worker.rows import covariate_columns

# What the segmenter and the regressions say of a covariate.
MEASURE_OF = {
    "ventricular_volume": "ventricular_volume",
    "brain_volume": "normalised_brain_volume",
    "age": "age",
}
# Scaled values: within the cohort's range, and those of the paper's figure 4, beyond it.
WITHIN = (0.0, 0.25, 0.5, 0.75, 1.0)
BEYOND = {"ventricular_volume": (-0.5, 1.5, 1.9), "brain_volume": (-0.5, -0.3, -0.1)}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Volumes that differ in one covariate.

    Attributes:
        covariate: which.
        asked: its values, in its unit, from low to high.
        measured: of each volume; NaN where the segmenter refuses it.
        extrapolated: whether the value, or what the model is told then, lies beyond the range that
            it was trained on.
        volumes: (N, X, Y, Z) float32 in [0, 1].
    """

    covariate: str
    asked: tuple[float, ...]
    measured: tuple[float, ...]
    extrapolated: tuple[bool, ...]
    volumes: np.ndarray

    def normalised(self, factor: float | None) -> Sweep:
        """Brain volumes by the head size of the cohort, `factor` times what is measured; any other
        covariate, and a cohort that has no brain volumes, as it is."""
        if factor is None or self.covariate != "brain_volume":
            return self
        return replace(self, measured=tuple(factor * one for one in self.measured))

    def to_json(self) -> dict[str, Any]:
        """All but the volumes."""
        measured = [round(m, 3) if np.isfinite(m) else None for m in self.measured]
        return {
            "covariate": self.covariate,
            "asked": [round(a, 3) for a in self.asked],
            "measured": measured,
            "extrapolated": list(self.extrapolated),
        }


def middle(schema: CovariateSchema, rows: list[dict[str, Any]]) -> Row:
    """The person whom every sweep varies: medians of the real cohort, the first level of others."""
    found: Row = {}
    for covariate in schema.covariates:
        if covariate.kind == "continuous":
            values = np.array([row[covariate.name] for row in rows], dtype=float)
            found[covariate.name] = covariate.round(float(np.nanmedian(values)))
        else:
            found[covariate.name] = covariate.levels[0]
    return found


def make_sweeps(
    model: str,
    person: Row,
    seed: int,
    device: str,
    heads: bool = False,
    brain_volume: str = MEASURE_OF["brain_volume"],
) -> list[Sweep]:
    """The sweeps of a model over each continuous covariate that can be measured.

    Args:
        brain_volume: which measured one is as the cohort's is.
        heads: whether it draws whole heads, which are skull-stripped to be measured.

    Raises:
        LdmError: no model there.
    """
    from ldm.errors import LdmError
    from ldm.loading import load
    from ldm.measuring.people import load_people
    from ldm.measuring.segmenter import load_segmenter
    from ldm.volumes.conversion import dequantise
    from ray_jobs.evaluation.measuring.instruments import volumes_of

    loaded, segmenter, people = load(model, device=device), load_segmenter(), load_people()
    measures, sweeps = MEASURE_OF | {"brain_volume": brain_volume}, []
    if len(loaded.description.suffixes) > 1:
        person = {**person, MODALITY: T1W}  # the contrast that the tools know
    for covariate in loaded.schema.continuous:
        if covariate.name not in MEASURE_OF:
            continue
        scaled = sorted((*WITHIN, *BEYOND.get(covariate.name, ())))
        asked = [covariate.round(float(covariate.unscale(value))) for value in scaled]
        rows = [{**person, covariate.name: value} for value in asked]
        levels = np.concatenate([loaded.generate([row], [(seed,)]) for row in rows])
        volumes, measured = dequantise(levels), []
        for volume in volumes:
            try:
                brain = brain_of(volume, loaded.grid.affine) if heads else volume
                found = segmenter.segment(brain, loaded.grid.affine)
                values = {**volumes_of(found.volumes()), "age": people.judge(found).age}
                measured.append(values[measures[covariate.name]])
            except LdmError:
                measured.append(float("nan"))
        sweeps.append(
            Sweep(
                covariate=covariate.name,
                asked=tuple(asked),
                measured=tuple(measured),
                extrapolated=tuple(_beyond(loaded, row) for row in rows),
                volumes=volumes,
            )
        )
    return sweeps


def _beyond(model: Any, row: Row) -> bool:
    columns = covariate_columns(model.schema, model.description.calibration)
    return is_extrapolated(columns, row)
