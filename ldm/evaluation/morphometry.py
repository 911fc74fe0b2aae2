"""Whether regional volumes of synthetic brains are distributed as those of real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ldm import noise
from ldm.errors import LdmError
from ldm.evaluation.statistics import checks
from ldm.evaluation.statistics.intervals import Estimate

FEWEST = 20  # real subjects: ten in each half of the reference
_TAILS = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class Region:
    """One region's adjusted volumes, synthetic against real, in standard deviations of the real.

    Attributes:
        distance: Wasserstein-1 distance; 0 is equal, a pure shift by one real sd is 1.
        shift: mean of the synthetic residuals (the real ones' is 0).
        spread: standard deviation of the synthetic residuals; 1 is the real one.
        split_half: the same distance between random halves of the real subjects: mean, and
            the 2.5 and 97.5 percentiles over splits, `n` subjects a half. What equal
            distributions give at that size; a distance of larger samples is expected below it.
    """

    distance: Estimate
    shift: Estimate
    spread: Estimate
    split_half: Estimate

    @property
    def beyond_chance(self) -> bool:
        """Whether the distance's interval lies above what halves of the real subjects give."""
        return self.distance.low > self.split_half.high

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        names = ("distance", "shift", "spread", "split_half")
        found: dict[str, Any] = {name: getattr(self, name).to_json() for name in names}
        return {**found, "beyond_chance": self.beyond_chance}


def age_and_sex(age: ArrayLike, sex: Sequence[str]) -> np.ndarray:
    """The covariates to adjust for, (N, 2): years, and 1 for M, 0 for F.

    Raises:
        LdmError: a level other than F and M, not finite, or columns of different lengths.
    """
    years = checks.vector(age, "age")
    checks.same_length(("age", years), ("sex", sex))
    unknown = sorted({str(level) for level in sex} - {"F", "M"})
    if unknown:
        raise LdmError(f"sex {', '.join(unknown)[:60]}: expected F or M")
    return np.column_stack([years, [float(str(level) == "M") for level in sex]])


def morphometry(
    real: Mapping[str, ArrayLike],
    synthetic: Mapping[str, ArrayLike],
    *,
    real_covariates: ArrayLike,
    synthetic_covariates: ArrayLike,
    draws: int = 500,
    splits: int = 200,
    seed: int = 0,
) -> dict[str, Region]:
    """Regional volumes of synthetic against real brains, adjusted for covariates.

    A linear model of each volume on the covariates is fitted to the real subjects; its residuals
    of both sets, over the standard deviation of the real ones, are compared by Wasserstein-1. The
    intervals draw real and synthetic subjects with replacement and fit the model anew; as a
    distance of resampled sets is biased upwards, the draws are centred on the estimate, and a
    distance's interval ends at 0.

    Args:
        real, synthetic: (N,) and (M,) volumes by region, any one unit, the same regions in both.
        real_covariates, synthetic_covariates: (N, P) and (M, P) numbers, such as `age_and_sex`.
            Of synthetic brains those that were asked for.
        draws: of the bootstrap. splits: of the real subjects into halves.

    Raises:
        LdmError: regions or covariates that differ, fewer than 20 real or 4 synthetic subjects,
            not finite, or a region that does not vary among the real.
    """
    if set(real) != set(synthetic) or not real:
        raise LdmError(
            f"regions {', '.join(sorted(map(str, set(real) ^ set(synthetic))))[:100] or 'none'}: "
            "expected the same ones, real and synthetic"
        )
    x = checks.features(real_covariates, "real covariates", at_least=FEWEST)
    z = checks.features(synthetic_covariates, "synthetic covariates", at_least=4)
    checks.same_width(("real covariates", x), ("synthetic covariates", z))
    columns: list[list[np.ndarray]] = [[], []]
    for name in real:
        v = checks.vector(real[name], f"real {name}", at_least=FEWEST)
        w = checks.vector(synthetic[name], f"synthetic {name}", at_least=4)
        checks.same_length((f"real {name}", v), ("real covariates", x))
        checks.same_length((f"synthetic {name}", w), ("synthetic covariates", z))
        if np.ptp(v) == 0:
            raise LdmError(f"real {name}: every subject has {v[0]:g}; expected values that differ")
        columns[0].append(v)
        columns[1].append(w)
    v, w = (np.column_stack(one) for one in columns)
    return dict(zip(real, _regions(v, w, x, z, draws, splits, seed), strict=True))


def residuals(
    real: np.ndarray, other: np.ndarray, real_x: np.ndarray, other_x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of (N, R) `real` and (M, R) `other` from the linear models of the real ones on
    (N, P) covariates, in standard deviations of the real residuals."""
    middle = real_x.mean(axis=0)
    spread = real_x.std(axis=0)
    spread[spread == 0] = 1
    design, elsewhere = (
        np.column_stack([np.ones(len(x)), (x - middle) / spread]) for x in (real_x, other_x)
    )
    weights, *_ = np.linalg.lstsq(design, real, rcond=None)
    mine, theirs = real - design @ weights, other - elsewhere @ weights
    freedom = max(1, len(real) - design.shape[1])
    scale = np.sqrt((mine**2).sum(axis=0) / freedom)
    scale[scale == 0] = 1
    return mine / scale, theirs / scale


def wasserstein(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Wasserstein-1 distance of every column of (N, R) and (M, R), (R,): the mean difference of
    their quantile functions."""
    n, m = len(x), len(y)
    steps = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # of 1 / (n m)
    width = np.diff(steps, prepend=0)
    places = [(steps * length + n * m - 1) // (n * m) - 1 for length in (n, m)]
    one, other = (np.sort(v, axis=0)[at] for v, at in zip((x, y), places, strict=True))
    found: np.ndarray = width @ np.abs(one - other) / (n * m)
    return found


def _regions(
    v: np.ndarray,
    w: np.ndarray,
    x: np.ndarray,
    z: np.ndarray,
    draws: int,
    splits: int,
    seed: int,
) -> list[Region]:
    """Of (N, R) and (M, R) volumes; every draw is of all regions."""
    n, m, count = len(v), len(w), v.shape[1]
    values = _compare(v, w, x, z)
    rng = noise.generator(noise.EVALUATION, seed, n, m)
    drawn = np.empty((draws, 3, count))
    for i in range(draws):
        a, b = rng.integers(n, size=n), rng.integers(m, size=m)
        drawn[i] = _compare(v[a], w[b], x[a], z[b])
    low, high = np.quantile(drawn - drawn.mean(axis=0), _TAILS, axis=0) + values
    low[0] = np.maximum(low[0], 0)  # a distance's
    halves = np.empty((splits, count))
    for i in range(splits):
        order = rng.permutation(n)
        a, b = order[: n // 2], order[n // 2 :]
        halves[i] = _compare(v[a], v[b], x[a], x[b])[0]
    ends = np.quantile(halves, _TAILS, axis=0)
    found = []
    for place in range(count):
        figures = [
            Estimate(
                value=float(values[k, place]),
                low=float(low[k, place]),
                high=float(high[k, place]),
                n=m,
                n_reference=n,
            )
            for k in range(3)
        ]
        reference = Estimate(
            value=float(halves[:, place].mean()),
            low=float(ends[0, place]),
            high=float(ends[1, place]),
            n=n // 2,
        )
        distance, shift, spread = figures
        found.append(Region(distance=distance, shift=shift, spread=spread, split_half=reference))
    return found


def _compare(v: np.ndarray, w: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Wasserstein-1 distance, mean and standard deviation of the residuals of `w`, (3, R)."""
    mine, theirs = residuals(v, w, x, z)
    return np.stack([wasserstein(mine, theirs), theirs.mean(axis=0), theirs.std(axis=0, ddof=1)])
