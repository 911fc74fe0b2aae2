"""How well a score tells two groups apart: the area under the ROC curve."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ldm.evaluation.statistics import checks
from ldm.evaluation.statistics.intervals import CONFIDENCE, Estimate


def auc(positives: ArrayLike, negatives: ArrayLike, *, confidence: float = CONFIDENCE) -> Estimate:
    """The probability that a positive scores higher than a negative, ties counted half.

    The interval solves (A - a)^2 = z^2 V(a) for a, with the variance of Hanley & McNeil 1982
    (Radiology 143:29, eq. 1) and both group sizes replaced by their mean inside it: method 5 of
    Newcombe 2006 (Stat. Med. 25:559). It has a width even where A is 0 or 1.

    Args:
        positives: (P,) scores. negatives: (Q,) scores.

    Returns:
        `n` positives, `n_reference` negatives.

    Raises:
        LdmError: an empty group, or scores that are not finite.
    """
    from scipy.stats import rankdata

    one = checks.vector(positives, "scores of the positives")
    other = checks.vector(negatives, "scores of the negatives")
    p, q = len(one), len(other)
    ranks = rankdata(np.concatenate([one, other]))
    value = float((ranks[:p].sum() - p * (p + 1) / 2) / (p * q))
    return area(value, p, q, confidence=confidence)


def area(
    value: float, p: int, q: int, *, widen: float = 1.0, confidence: float = CONFIDENCE
) -> Estimate:
    """An area under the ROC curve of `p` positives and `q` negatives, with the interval of `auc`.

    Args:
        widen: factor on the standard error, of scores that are themselves uncertain.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    z = widen * float(ndtri((1 + confidence) / 2))

    def outside(a: float) -> float:
        return abs(value - a) - z * math.sqrt(_variance(a, p, q))

    tiny = 1e-9  # at 0 and 1 itself the variance vanishes, a root that is not meant
    low = 0.0 if value <= tiny else float(brentq(outside, 0.0, min(value, 1 - tiny)))
    high = 1.0 if value >= 1 - tiny else float(brentq(outside, max(value, tiny), 1.0))
    return Estimate(value=value, low=low, high=high, n=p, n_reference=q)


def chance_error(p: int, q: int) -> float:
    """Standard error of the area of scores that tell nothing (Mann & Whitney 1947)."""
    return math.sqrt((p + q + 1) / (12 * p * q))


def _variance(a: float, p: int, q: int) -> float:
    """Hanley & McNeil 1982, eq. 1, at area `a`, with Q1 = a / (2 - a), Q2 = 2 a^2 / (1 + a)."""
    more = (p + q) / 2 - 1
    return a * (1 - a) * (1 + more * ((1 - a) / (2 - a) + a / (1 + a))) / (p * q)
