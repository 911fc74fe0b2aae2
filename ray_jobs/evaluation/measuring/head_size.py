"""Whether a cohort's brain volumes are normalised for head size, and to which head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ray_jobs.evaluation.measuring.measured import TRAIN, Measured, having
from ray_jobs.evaluation.sources import REAL

COVARIATE = "brain_volume"
RAW, NORMALISED = "measured_brain_volume", "measured_normalised_brain_volume"


@dataclass(frozen=True, kw_only=True)
class HeadSize:
    """The convention of a cohort.

    Attributes:
        normalised: whether its brain volumes are normalised for head size.
        factor: of what is measured of a volume, at the template's head size, to the head that the
            cohort's are normalised to, which every study chooses; 1 where they are not normalised.
    """

    normalised: bool
    factor: float

    @property
    def measure(self) -> str:
        """The column of what is measured as the cohort's brain volumes are."""
        return NORMALISED if self.normalised else RAW


def head_size(measured: dict[str, Measured]) -> HeadSize | None:
    """The convention that agrees with what is measured of the training subjects; None where the
    cohort has no brain volumes.

    Raw volumes follow the size of the head and normalised ones do not, so that the higher of the
    two correlations tells. The factor is a ratio of means, which changes no correlation.
    """
    train = having(measured[REAL].of(TRAIN), COVARIATE)
    if not len(train):
        return None
    known = train[COVARIATE].to_numpy(dtype=float)
    raw, normalised = (_correlation(known, train[name].to_numpy()) for name in (RAW, NORMALISED))
    if raw > normalised:
        return HeadSize(normalised=False, factor=1.0)
    factor = float(train[COVARIATE].mean() / train[NORMALISED].mean())
    return HeadSize(normalised=True, factor=factor)


def in_the_cohorts_convention(measured: dict[str, Measured]) -> HeadSize | None:
    """Bring the brain volumes of every source, in the column `NORMALISED`, to the convention of
    the cohort's own."""
    found = head_size(measured)
    if found is not None:
        for source in measured.values():
            source.whole[NORMALISED] = found.factor * source.whole[found.measure]
    return found


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
