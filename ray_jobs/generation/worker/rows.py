"""A drawn sample as a row of the manifest: the seam between the science and the release."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldm.contrasts import T1W
from ldm.covariates import Covariate, CovariateSchema, Value
from ldm.covariates.calibration import Calibration, Plane
from ldm.volumes.quality import ALL_FIGURES
from manifests.format.extrapolation import is_extrapolated
from manifests.format.layout import image_path, participant_id
from manifests.format.schema import (
    FAILED,
    MADE_ON,
    OK,
    QUALITY_PREFIX,
    SCALED_SUFFIX,
    Column,
    Told,
)
from ray_jobs.generation.worker.drawing import Draw

QUALITY_COLUMNS = tuple(Column(name=name, description=text) for name, text in ALL_FIGURES.items())


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What was written of a sample: where, its size in bytes, and its digest."""

    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, index: int, data: bytes, suffix: str = T1W) -> Stored:
        """The record of the image file `data` of sample `index`, of a contrast."""
        digest = hashlib.sha256(data).hexdigest()
        return cls(path=image_path(index, suffix), size=len(data), sha256=digest)


def covariate_columns(
    schema: CovariateSchema, calibration: Calibration | None = None
) -> tuple[Column, ...]:
    """The model's covariates as columns of a manifest, with what it is told in their place."""
    planes = calibration.planes if calibration else {}
    return tuple(
        Column(
            name=c.name,
            unit=c.unit,
            kind=c.kind,
            levels=c.levels,
            minimum=c.minimum if c.is_continuous else None,
            maximum=c.maximum if c.is_continuous else None,
            description=c.description,
            coding=c.coding,
            told=_told(planes[c.name]) if c.name in planes else None,
        )
        for c in schema.covariates
    )


def _told(plane: Plane) -> Told:
    return Told(constant=plane.constant, weights=tuple(plane.weights.items()))


def manifest_row(
    draw: Draw,
    stored: Stored | None,
    *,
    schema: CovariateSchema,
    seed: int,
    made_on: str | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """The manifest's row of one sample; `stored` is None where every attempt failed, `made_on` and
    `calibration` where the release does not tell them."""
    row: dict[str, Any] = {
        "index": draw.index,
        "participant_id": participant_id(draw.index),
        "path": stored.path if stored else None,
        "bytes": stored.size if stored else None,
        "sha256": stored.sha256 if stored else None,
        "extrapolated": is_extrapolated(covariate_columns(schema, calibration), draw.covariates),
        "seed": seed,
        "attempt": draw.attempt,
        "status": OK if stored else FAILED,
        "error": None if stored else draw.quality.error,
        **({MADE_ON: made_on} if made_on else {}),
    }
    for covariate in schema.covariates:
        value = draw.covariates[covariate.name]
        row[covariate.name] = value
        row[covariate.name + SCALED_SUFFIX] = _scaled(covariate, value)
    for name in ALL_FIGURES:
        figure = draw.quality.figures[name]
        row[QUALITY_PREFIX + name] = figure if math.isfinite(figure) else None
    return row


def _scaled(covariate: Covariate, value: Value) -> float:
    """As the network receives it, in its precision; of a one-hot one which level's input is 1."""
    code = np.array(covariate.code(value), dtype=np.float32)
    return float(code.argmax() if covariate.is_one_hot else code[0])
