"""Whether synthetic volumes are as sharp as real ones, and as textured, by band of frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ldm.errors import LdmError
from ldm.evaluation.statistics import checks, intervals, welch
from ldm.evaluation.statistics.intervals import Estimate
from ldm.volumes.spectrum import BANDS, Spectrum


@dataclass(frozen=True, kw_only=True)
class Sharpness:
    """A set of volumes against people, a figure a band of `ldm.volumes.spectrum.BANDS`.

    Attributes:
        power: over the people's: ratio of geometric means; below 1 is blurred, above 1 too rough.
        kurtosis: mean of the set.
        difference: of the set's mean kurtosis less the people's; below 0 the structure that is
            there lies anywhere instead of where anatomy has it: mottle.
    """

    power: tuple[Estimate, ...]
    kurtosis: tuple[Estimate, ...]
    difference: tuple[Estimate, ...]

    def to_json(self) -> dict[str, Any]:
        """A list a figure, in the order of the bands."""
        names = ("power", "kurtosis", "difference")
        return {name: [one.to_json() for one in getattr(self, name)] for name in names}


def sharpness(volumes: ArrayLike, people: ArrayLike) -> Sharpness:
    """Power and kurtosis of (N, 2 B) `volumes` against (M, 2 B) `people`, rows of `as_row`.

    Intervals of ratios are Welch's of the differences of mean logarithms, as power by person is
    skewed; of differences Welch's, of a mean by bootstrap (BCa).

    Raises:
        LdmError: fewer than two of either, other widths than `as_row` gives, or not finite.
    """
    one, other = _rows(volumes, "volumes"), _rows(people, "people")
    power, kurtosis = _halves(one)
    of_people, their_kurtosis = _halves(other)
    logs = [welch.difference(x, y) for x, y in zip(power.T, of_people.T, strict=True)]
    return Sharpness(
        power=tuple(found.exponential() for found in logs),
        kurtosis=tuple(intervals.mean(values) for values in kurtosis.T),
        difference=tuple(
            welch.difference(x, y) for x, y in zip(kurtosis.T, their_kurtosis.T, strict=True)
        ),
    )


def as_row(found: Spectrum) -> np.ndarray:
    """A spectrum as (2 B,) numbers fit for means and for a linear classifier: logarithms of power,
    then excess kurtoses."""
    return np.concatenate([np.log(found.power), found.kurtosis])


def tame(rows: ArrayLike) -> np.ndarray:
    """(N, 2 B) rows with each kurtosis as the logarithm of fourth over squared second moment: what
    a classifier sees, which a few volumes of large kurtosis must not govern."""
    power, kurtosis = _halves(_rows(rows, "rows"))
    return np.hstack([power, np.log(np.maximum(kurtosis + 3, 1.0))])


def _rows(values: ArrayLike, name: str) -> np.ndarray:
    found = checks.features(values, name, at_least=2)
    if found.shape[1] != 2 * len(BANDS):
        raise LdmError(f"{name} of {found.shape[1]} figures: expected {2 * len(BANDS)}")
    return found


def _halves(rows: np.ndarray) -> Sequence[np.ndarray]:
    return np.split(rows, 2, axis=1)
