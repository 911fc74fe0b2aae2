"""How far two sets of features are apart: Fréchet distance (FID) and kernel distance (KID)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ldm.evaluation.statistics import checks, jackknife
from ldm.evaluation.statistics.intervals import Estimate

_CHUNK = 2048  # rows of a kernel matrix at a time


@dataclass(frozen=True, kw_only=True)
class Frechet:
    """A Fréchet distance and what its size rests on.

    Attributes:
        estimate: the distance, its interval, and the two sample sizes.
        dimensions: D, of the features.
        rank, rank_reference: of the two covariance estimates, at most n - 1 and D. A covariance
            of rank below D is one of too few volumes, and the distance biased upwards: compare it
            only with distances at the same n, or read `kernel_distance`, which has no such bias.
    """

    estimate: Estimate
    dimensions: int
    rank: int
    rank_reference: int

    @property
    def deficient(self) -> bool:
        """Whether either covariance has a rank below the features' dimension."""
        return min(self.rank, self.rank_reference) < self.dimensions

    def to_json(self) -> dict[str, Any]:
        """The figures, and whether a covariance is rank-deficient."""
        return {
            **self.estimate.to_json(),
            "dimensions": self.dimensions,
            "rank": self.rank,
            "rank_reference": self.rank_reference,
            "rank_deficient": self.deficient,
        }


def frechet_distance(x: ArrayLike, y: ArrayLike, *, groups: int = 10, seed: int = 0) -> Frechet:
    """FID (Heusel et al. 2017, eq. 6): |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)).

    Exact at any n and D, without a matrix square root: with A, B the centred features over
    sqrt(n - 1), C_x = A'A and C_y = B'B, the eigenvalues of C_x C_y are the squared singular
    values of A B', so the last trace is their sum. In float64.

    Args:
        x: (N, D) features, synthetic. y: (M, D) features, real.
        groups: of the jackknife that gives the interval, for each sample; fewer at small n.

    Raises:
        LdmError: fewer than 4 rows, not finite, or features of different widths.
    """
    one, other = (checks.features(f, name, at_least=4) for f, name in ((x, "x"), (y, "y")))
    checks.same_width(("x", one), ("y", other))
    middle = other.mean(axis=0)
    one, other = one - middle, other - middle
    a, b = _factor(one), _factor(other)
    value = _distance(one.mean(axis=0), other.mean(axis=0), a, b)
    without_x = [
        _distance(part.mean(axis=0), other.mean(axis=0), _factor(part), b)
        for part in _parts(one, groups, seed)
    ]
    without_y = [
        _distance(one.mean(axis=0), part.mean(axis=0), a, _factor(part))
        for part in _parts(other, groups, seed)
    ]
    found = jackknife.two_samples(
        value, np.array(without_x), np.array(without_y), n=len(one), n_reference=len(other)
    )
    return Frechet(
        estimate=replace(found, low=max(0.0, found.low)),
        dimensions=one.shape[1],
        rank=_rank(a),
        rank_reference=_rank(b),
    )


def frechet_value(x: np.ndarray, y: np.ndarray) -> float:
    """The distance of `frechet_distance` alone, of (N, D) and (M, D) float64."""
    return _distance(x.mean(axis=0), y.mean(axis=0), _factor(x), _factor(y))


def _parts(rows: np.ndarray, groups: int, seed: int) -> list[np.ndarray]:
    """The rows without each group in turn."""
    count = min(groups, len(rows) // 2)
    dealt = jackknife.groups(len(rows), count, seed=seed)
    return [rows[dealt != group] for group in range(count)]


def _factor(rows: np.ndarray) -> np.ndarray:
    """F with F'F the covariance of (N, D) rows, of min(N, D) rows itself."""
    centred = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
    if len(centred) <= centred.shape[1]:
        return np.asarray(centred)
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _distance(mean_a: np.ndarray, mean_b: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    traces = float((a**2).sum() + (b**2).sum())
    return max(0.0, float(((mean_a - mean_b) ** 2).sum()) + traces - 2 * float(shared))


def _rank(factor: np.ndarray) -> int:
    """Of F'F, from the eigenvalues of the smaller of FF' and F'F."""
    small = factor @ factor.T if len(factor) <= factor.shape[1] else factor.T @ factor
    found = np.linalg.eigvalsh(small)
    return int((found > found.max() * max(factor.shape) * np.finfo(np.float64).eps).sum())


def kernel_distance(x: ArrayLike, y: ArrayLike, *, groups: int = 20, seed: int = 0) -> Estimate:
    """KID (Binkowski et al. 2018): the unbiased MMD^2 with kernel k(u, v) = (u'v / D + 1)^3.

    Source: Gretton et al. 2012, JMLR 13:723, eq. 3. Its expectation is 0 for two samples of one
    distribution at any n, so it may come out negative. The interval leaves out one subset of
    `groups` at a time, of each sample; the usual standard deviation over random overlapping
    subsets says how such subsets scatter, not how far the distance is known.

    Args:
        x: (N, D) features, synthetic. y: (M, D) features, real. Their scale matters: the kernel
            is not scale-free.

    Raises:
        LdmError: fewer than 4 rows, not finite, or features of different widths.
    """
    one, other = (checks.features(f, name, at_least=4) for f, name in ((x, "x"), (y, "y")))
    checks.same_width(("x", one), ("y", other))
    of_x, of_y = (
        jackknife.groups(len(rows), min(groups, len(rows) // 2), seed=seed) for rows in (one, other)
    )
    xx, yy = _block_sums(one, one, of_x, of_x), _block_sums(other, other, of_y, of_y)
    xy = _block_sums(one, other, of_x, of_y)
    n, m = np.bincount(of_x), np.bincount(of_y)
    every_x, every_y = np.ones(len(n)), np.ones(len(m))
    value = _mmd2(xx, yy, xy, n, m, every_x, every_y)
    without_x = [_mmd2(xx, yy, xy, n, m, every_x - row, every_y) for row in np.eye(len(n))]
    without_y = [_mmd2(xx, yy, xy, n, m, every_x, every_y - row) for row in np.eye(len(m))]
    return jackknife.two_samples(
        value, np.array(without_x), np.array(without_y), n=len(one), n_reference=len(other)
    )


def _block_sums(x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray) -> np.ndarray:
    """Sums of the kernel over pairs of groups, a row never with itself."""
    sums = np.zeros((of_x.max() + 1, of_y.max() + 1))
    columns = np.eye(sums.shape[1])[of_y]  # (M, G')
    for first in range(0, len(x), _CHUNK):
        rows = slice(first, first + _CHUNK)
        kernel = (x[rows] @ y.T / x.shape[1] + 1) ** 3
        if x is y:
            kernel[np.arange(len(kernel)), np.arange(first, first + len(kernel))] = 0
        np.add.at(sums, of_x[rows], kernel @ columns)
    return sums


def _mmd2(
    xx: np.ndarray,
    yy: np.ndarray,
    xy: np.ndarray,
    n: np.ndarray,
    m: np.ndarray,
    keep_x: np.ndarray,
    keep_y: np.ndarray,
) -> float:
    """The U-statistic over the groups that are kept (1) and not (0), of sizes n and m."""
    rows, columns = float(keep_x @ n), float(keep_y @ m)
    return (
        float(keep_x @ xx @ keep_x) / (rows * (rows - 1))
        + float(keep_y @ yy @ keep_y) / (columns * (columns - 1))
        - 2 * float(keep_x @ xy @ keep_y) / (rows * columns)
    )
