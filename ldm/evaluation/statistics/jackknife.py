"""Intervals of figures of two samples whose bootstrap would be biased: delete a group at a time."""

from __future__ import annotations

import math

import numpy as np

from ldm import noise
from ldm.errors import LdmError
from ldm.evaluation.statistics.intervals import CONFIDENCE, Estimate


def groups(n: int, count: int, *, seed: int = 0) -> np.ndarray:
    """(N,) group numbers 0..count - 1, of about equal sizes, dealt by chance.

    Raises:
        LdmError: fewer than 2 groups, or not two rows for each.
    """
    if count < 2 or n < 2 * count:
        raise LdmError(f"{n} rows in {count} groups: expected 2 or more groups of 2 or more")
    order = noise.generator(noise.EVALUATION, seed, n, count).permutation(n)
    dealt = np.empty(n, dtype=np.int64)
    dealt[order] = np.arange(n) % count
    return dealt


def two_samples(
    value: float, without_x: np.ndarray, without_y: np.ndarray, *, n: int, n_reference: int
) -> Estimate:
    """The estimate of a figure of two independent samples, from its values without each group.

    The variances of the two samples add (Shao & Tu 1995, The Jackknife and Bootstrap, section 2.3
    and 2.2.3); the interval is Student's, with as many degrees of freedom as the smaller number of
    groups less one. A bias of order 1 / n shifts all values alike and leaves the interval's width
    alone; a bootstrap would add its own.

    Args:
        value: of all rows.
        without_x: (G,) with one group of the first sample left out, nothing of the second.
        without_y: (G',) the other way round.
    """
    from scipy.stats import t

    variance = sum(
        (len(found) - 1) / len(found) * float(((found - found.mean()) ** 2).sum())
        for found in (without_x, without_y)
    )
    freedom = min(len(without_x), len(without_y)) - 1
    half = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(variance)
    return Estimate(value=value, low=value - half, high=value + half, n=n, n_reference=n_reference)
