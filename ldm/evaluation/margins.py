"""Whether a release's covariates are distributed, and hang together, as the cohort's do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ldm import noise
from ldm.errors import LdmError
from ldm.evaluation.statistics import checks, intervals
from ldm.evaluation.statistics.intervals import Estimate

Column = Sequence[float] | Sequence[str] | np.ndarray
_DRAWS = 500
_FIELLER = 1.06  # Fieller, Hartley & Pearson 1957: variance of atanh of Spearman's rho, x (n - 3)


@dataclass(frozen=True, kw_only=True)
class MarginComparison:
    """One covariate of the release against the cohort's.

    Attributes:
        kind: "continuous" or "categorical".
        difference: continuous: Wasserstein-1 distance in standard deviations of the cohort.
            Categorical: total variation distance, half the sum of differences of the shares, 0..1.
        ks: continuous: the Kolmogorov-Smirnov statistic, 0..1; None of a categorical covariate.
        p: of a two-sample Kolmogorov-Smirnov test, or of a chi-squared test of the counts.
    """

    kind: str
    difference: Estimate
    ks: Estimate | None
    p: float

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        found: dict[str, Any] = {"kind": self.kind, "difference": self.difference.to_json()}
        if self.ks is not None:
            found["ks"] = self.ks.to_json()
        return {**found, "p": float(f"{self.p:.3g}")}


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's correlation of two covariates, and by how much the release's differs."""

    first: str
    second: str
    cohort: Estimate
    release: Estimate
    difference: Estimate

    def to_json(self) -> dict[str, Any]:
        """The names and the figures."""
        return {
            "first": self.first,
            "second": self.second,
            "cohort": self.cohort.to_json(),
            "release": self.release.to_json(),
            "difference": self.difference.to_json(),
        }


def margins(
    release: Mapping[str, Column], cohort: Mapping[str, Column], *, seed: int = 0
) -> dict[str, MarginComparison]:
    """Each covariate's distribution in the release against the cohort.

    Intervals: bootstrap of both sets, centred on the estimate, for a distance of resampled sets is
    biased upwards.

    Args:
        release, cohort: columns by name, the same names; numbers, or names of levels.

    Raises:
        LdmError: names or kinds that differ, fewer than 4 rows, or not finite.
    """
    return {
        name: _categorical(a, b, seed) if a.dtype.kind == "U" else _continuous(a, b, seed)
        for name, (a, b) in _matched(release, cohort).items()
    }


def rank_correlations(
    release: Mapping[str, Column], cohort: Mapping[str, Column]
) -> tuple[RankCorrelation, ...]:
    """Spearman's correlation of every two covariates, release against cohort.

    A covariate of two levels counts as 0 and 1 in alphabetical order; one of more is left out.
    Intervals: Fisher's with Fieller's variance; of the difference, Zou 2007 (Psychol. Methods
    12:399, eq. 15). Where a covariate does not vary in one set, its correlations are undefined.

    Raises:
        LdmError: as `margins`.
    """
    columns = {}
    for name, (a, b) in _matched(release, cohort).items():
        if a.dtype.kind == "U":
            levels = np.unique(np.concatenate([a, b]))
            if len(levels) != 2:
                continue
            a, b = (np.asarray(x == levels[1], dtype=np.float64) for x in (a, b))
        columns[name] = (a, b)
    found = []
    for first, second in combinations(columns, 2):
        of_release, of_cohort = (
            _spearman(columns[first][side], columns[second][side]) for side in (0, 1)
        )
        found.append(
            RankCorrelation(
                first=first,
                second=second,
                cohort=of_cohort,
                release=of_release,
                difference=_difference(of_release, of_cohort),
            )
        )
    return tuple(found)


def _matched(
    release: Mapping[str, Column], cohort: Mapping[str, Column]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    odd = set(release) ^ set(cohort)
    if odd:
        raise LdmError(f"covariates {', '.join(sorted(odd))[:100]}: in only one of the two tables")
    found = {}
    for name in cohort:
        pair = [
            _column(side[name], f"{name} of the {where}")
            for side, where in ((release, "release"), (cohort, "cohort"))
        ]
        if pair[0].dtype.kind != pair[1].dtype.kind:
            raise LdmError(f"{name}: numbers in one table and levels in the other")
        found[name] = (pair[0], pair[1])
    return found


def _column(values: Column, name: str) -> np.ndarray:
    found = np.asarray(values)
    if found.dtype.kind in "biuf":
        return checks.vector(found, name, at_least=4)
    if found.ndim != 1 or len(found) < 4 or not all(isinstance(v, str) for v in found.tolist()):
        raise LdmError(f"{name}: expected 4 or more numbers, or names of levels")
    return found.astype(str)


def _continuous(a: np.ndarray, b: np.ndarray, seed: int) -> MarginComparison:
    from scipy.stats import ks_2samp, wasserstein_distance

    def compare(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
        spread = float(other.std(ddof=1)) or 1.0
        return float(wasserstein_distance(one, other)) / spread, _ks(one, other)

    difference, ks = _centred(compare, a, b, seed)
    p = float(ks_2samp(a, b).pvalue)
    return MarginComparison(kind="continuous", difference=difference, ks=ks, p=p)


def _ks(a: np.ndarray, b: np.ndarray) -> float:
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate([a, b])
    gap = np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)
    return float(np.abs(gap).max())


def _categorical(a: np.ndarray, b: np.ndarray, seed: int) -> MarginComparison:
    from scipy.stats import chi2_contingency

    levels, places = np.unique(np.concatenate([a, b]), return_inverse=True)
    one, other = places[: len(a)], places[len(a) :]

    def compare(x: np.ndarray, y: np.ndarray) -> tuple[float]:
        shares = [np.bincount(side, minlength=len(levels)) / len(side) for side in (x, y)]
        return (float(np.abs(shares[0] - shares[1]).sum()) / 2,)

    (difference,) = _centred(compare, one, other, seed)
    counts = [np.bincount(side, minlength=len(levels)) for side in (one, other)]
    p = float(chi2_contingency(np.array(counts)).pvalue) if len(levels) > 1 else 1.0
    return MarginComparison(kind="categorical", difference=difference, ks=None, p=p)


def _centred(compare: Any, a: np.ndarray, b: np.ndarray, seed: int) -> tuple[Estimate, ...]:
    values = np.array(compare(a, b))
    rng = noise.generator(noise.EVALUATION, seed, len(a), len(b))
    drawn = np.array(
        [
            compare(a[rng.integers(len(a), size=len(a))], b[rng.integers(len(b), size=len(b))])
            for _ in range(_DRAWS)
        ]
    )
    ends = np.quantile(drawn - drawn.mean(axis=0), (0.025, 0.975), axis=0) + values
    return tuple(
        Estimate(
            value=float(value),
            low=max(0.0, float(low)),
            high=float(high),
            n=len(a),
            n_reference=len(b),
        )
        for value, low, high in zip(values, *ends, strict=True)
    )


def _spearman(a: np.ndarray, b: np.ndarray) -> Estimate:
    from scipy.stats import rankdata

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return Estimate(value=float("nan"), low=float("nan"), high=float("nan"), n=len(a))
    rho = float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
    return intervals.correlation(rho, len(a), variance=_FIELLER)


def _difference(release: Estimate, cohort: Estimate) -> Estimate:
    value = release.value - cohort.value
    down = np.hypot(release.value - release.low, cohort.high - cohort.value)
    up = np.hypot(release.high - release.value, cohort.value - cohort.low)
    return Estimate(
        value=value,
        low=value - float(down),
        high=value + float(up),
        n=release.n,
        n_reference=cohort.n,
    )
