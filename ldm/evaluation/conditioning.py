"""Whether volumes are what was asked for: measured against asked covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ldm.errors import LdmError
from ldm.evaluation.statistics import checks, intervals, ranking
from ldm.evaluation.statistics.intervals import Estimate


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Of a continuous covariate, measured against asked; 95 % intervals.

    Attributes:
        r: Pearson's correlation, with Fisher's interval.
        slope, intercept: of measured on asked, by least squares; 1 and 0 are wanted. The
            intercept is in the covariate's unit.
        bias: mean of measured - asked, in its unit.
        error: mean absolute difference, in its unit.
        n: volumes.
    """

    r: Estimate
    slope: Estimate
    intercept: Estimate
    bias: Estimate
    error: Estimate
    n: int

    def to_json(self) -> dict[str, Any]:
        """The figures by name, and n."""
        names = ("r", "slope", "intercept", "bias", "error")
        return {**{name: getattr(self, name).to_json() for name in names}, "n": self.n}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of a covariate of two levels, classified against asked; 95 % intervals.

    Attributes:
        accuracy: share of volumes whose likelier level is the one asked.
        balanced_accuracy: mean of the two levels' accuracies; 0.5 is chance.
        auc: probability that a volume asked to be `positive` scores higher than one that was not.
        positive: the level whose probability was scored.
        n: volumes.
    """

    accuracy: Estimate
    balanced_accuracy: Estimate
    auc: Estimate
    positive: str
    n: int

    def to_json(self) -> dict[str, Any]:
        """The figures by name, the positive level, and n."""
        names = ("accuracy", "balanced_accuracy", "auc")
        found: dict[str, Any] = {name: getattr(self, name).to_json() for name in names}
        return {**found, "positive": self.positive, "n": self.n}


def relation(asked: ArrayLike, measured: ArrayLike, *, seed: int = 0) -> Relation:
    """How measured values follow those asked for, (N,) each, in one unit.

    The tool that measured has its own error and slope: give its own relation on real subjects
    beside this one. Intervals but r's: bootstrap over volumes (BCa).

    Raises:
        LdmError: fewer than 4 volumes, not finite, columns of different lengths, or asked values
            that are all the same.
    """
    x = checks.vector(asked, "asked", at_least=4)
    y = checks.vector(measured, "measured", at_least=4)
    n = checks.same_length(("asked", x), ("measured", y))
    if np.ptp(x) == 0:
        raise LdmError(f"asked: all {n} values are {x[0]:g}; expected values that differ")
    varies = np.ptp(y) > 0
    return Relation(
        r=intervals.correlation(_r(x, y), n)
        if varies
        else Estimate(value=float("nan"), low=float("nan"), high=float("nan"), n=n),
        slope=intervals.bootstrap(_slope, x, y, seed=seed),
        intercept=intervals.bootstrap(_intercept, x, y, seed=seed),
        bias=intervals.mean(y - x, seed=seed),
        error=intervals.mean(np.abs(y - x), seed=seed),
        n=n,
    )


def agreement(
    asked: Sequence[str], scores: ArrayLike, *, positive: str, seed: int = 0
) -> Agreement:
    """How a classifier's scores follow the levels asked for.

    Args:
        asked: (N,) levels, two different ones.
        scores: (N,) probabilities, 0..1, of the level `positive`; 0.5 and above is taken as it.

    Raises:
        LdmError: not two levels, `positive` not one of them, scores beyond 0..1, fewer than 4
            volumes or columns of different lengths.
    """
    found = checks.vector(scores, "scores", at_least=4)
    n = checks.same_length(("asked", asked), ("scores", found))
    levels = sorted({str(level) for level in asked})
    if len(levels) != 2 or positive not in levels:
        raise LdmError(
            f"asked levels {', '.join(levels)[:80]}: expected two, one of them {positive!r}"
        )
    if found.min() < 0 or found.max() > 1:
        raise LdmError(f"scores {found.min():g} to {found.max():g}: expected probabilities, 0 to 1")
    wanted = np.array([str(level) == positive for level in asked])
    right = (found >= 0.5) == wanted
    return Agreement(
        accuracy=intervals.proportion(int(right.sum()), n),
        balanced_accuracy=intervals.bootstrap(
            _balanced, wanted, right, method="percentile", seed=seed
        ),
        auc=ranking.auc(found[wanted], found[~wanted]),
        positive=positive,
        n=n,
    )


def _r(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    centred = x - x.mean()
    square = float(centred @ centred)
    return float(centred @ y) / square if square > 0 else float("nan")


def _intercept(x: np.ndarray, y: np.ndarray) -> float:
    return float(y.mean()) - _slope(x, y) * float(x.mean())


def _balanced(wanted: np.ndarray, right: np.ndarray) -> float:
    if wanted.all() or not wanted.any():
        return float("nan")
    return (float(right[wanted].mean()) + float(right[~wanted].mean())) / 2
