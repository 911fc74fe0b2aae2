"""How far the means of two samples are apart."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from ldm.evaluation.statistics import checks
from ldm.evaluation.statistics.intervals import CONFIDENCE, Estimate


def difference(x: ArrayLike, y: ArrayLike, *, confidence: float = CONFIDENCE) -> Estimate:
    """The mean of (N,) `x` less that of (M,) `y`, variances not taken for equal.

    Source: Welch 1947, Biometrika 34:28, with the degrees of freedom of Satterthwaite 1946.

    Raises:
        LdmError: fewer than two of either, or not finite.
    """
    from scipy.special import stdtrit

    one = checks.vector(x, "x", at_least=2)
    other = checks.vector(y, "y", at_least=2)
    value = float(one.mean() - other.mean())
    parts = [float(found.var(ddof=1)) / len(found) for found in (one, other)]
    variance = sum(parts)
    if variance == 0:
        return Estimate(value=value, low=value, high=value, n=len(one), n_reference=len(other))
    freedom = variance**2 / sum(
        part**2 / (len(found) - 1) for part, found in zip(parts, (one, other), strict=True)
    )
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(variance)
    return Estimate(
        value=value, low=value - half, high=value + half, n=len(one), n_reference=len(other)
    )
