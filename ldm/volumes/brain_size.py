"""The size that a brain seems to have, told from two cheap figures of its volume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ldm.errors import LdmError

COVARIATE = "brain_volume"
FEWEST = 20  # subjects that three numbers are fitted to
LEAST_CORRELATION = 0.5  # below it the figures tell little of this cohort's brain sizes


@dataclass(frozen=True, kw_only=True)
class BrainSize:
    """log(covariate) = intercept + bright log(bright voxels) + head log(head voxels), as shares of
    the grid: grey and white matter are bright, and a covariate that is normalised for the head's
    size falls with the head's.

    Attributes:
        covariate: which, in mm3.
        intercept, bright, head: the weights, of the cohort that the model was trained on.
    """

    covariate: str = COVARIATE
    intercept: float
    bright: float
    head: float

    def __post_init__(self) -> None:
        for name in ("intercept", "bright", "head"):
            if not math.isfinite(getattr(self, name)):
                raise LdmError(f"brain_size {name} {getattr(self, name)}: expected a number")

    def error(self, figures: Mapping[str, float], asked: Mapping[str, Any]) -> float:
        """log(the size it seems to have / the size asked for); 0.05 is 5 % too large.

        NaN where no size was asked for, or nothing is there.
        """
        wanted = asked.get(self.covariate)
        shares = _shares(figures)
        if wanted is None or not float(wanted) > 0 or min(shares) <= 0:
            return math.nan
        bright, head = np.log(shares)
        seems = self.intercept + self.bright * bright + self.head * head
        return float(seems - math.log(float(wanted)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> BrainSize:
        """Raises LdmError, KeyError, TypeError or ValueError where it is no such document."""
        weights = {name: float(document[name]) for name in ("intercept", "bright", "head")}
        return cls(covariate=str(document["covariate"]), **weights)


def fit_brain_size(
    figures: Sequence[Mapping[str, float]], volumes: Sequence[float] | np.ndarray
) -> BrainSize | None:
    """By least squares, of real volumes; None where too few are given, or they do not go together.

    Args:
        figures: `ldm.volumes.quality.FIGURES` of each volume.
        volumes: the covariate of each, mm3.
    """
    shares = np.array([_shares(one) for one in figures])
    known = np.asarray(volumes, dtype=np.float64)
    if len(known) < FEWEST or shares.min() <= 0 or not (known > 0).all():
        return None
    design = np.column_stack([np.ones(len(known)), np.log(shares)])
    weights, _, rank, _ = np.linalg.lstsq(design, np.log(known), rcond=None)
    correlation = (design @ weights).std() / max(np.log(known).std(), 1e-12)
    if rank < design.shape[1] or correlation < LEAST_CORRELATION:
        return None
    intercept, bright, head = (round(float(weight), 6) for weight in weights)
    return BrainSize(intercept=intercept, bright=bright, head=head)


def _shares(figures: Mapping[str, float]) -> tuple[float, float]:
    """Bright voxels and the head's, as shares of the grid."""
    head = figures["foreground_fraction"]
    return figures["bright_fraction"] * head, head
