"""A Gaussian copula over smoothed quantiles: one group of subjects, told without their rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import betainc, ndtr, ndtri

MOST_KNOTS = 33
SUBJECTS_PER_KNOT = 4
_Z_END = 3.0  # normal score of a fixed value at or beyond the cohort's ends


@dataclass(frozen=True, kw_only=True)
class MarginalDistribution:
    """A continuous distribution as smoothed quantiles.

    Attributes:
        end: probability left out beyond each of the outer knots; the knots lie at evenly spaced
            normal scores from ndtri(end) to ndtri(1 - end).
        knots: (K,) quantiles there, physical units, not decreasing.
    """

    end: float
    knots: tuple[float, ...]

    @classmethod
    def fit(cls, values: np.ndarray) -> MarginalDistribution:
        """Harrell-Davis quantiles of (N,) values: each knot is a mean over many subjects.

        Source: Harrell and Davis 1982, Biometrika 69:635, eq. 2. The outer knots lie at
        1 / (N + 1), where the extreme subject weighs 0.63.
        """
        n = len(values)
        end = 1 / (n + 1)
        count = min(MOST_KNOTS, max(5, n // SUBJECTS_PER_KNOT))
        p = ndtr(np.linspace(ndtri(end), -ndtri(end), count))[:, None]  # (K, 1)
        cumulative = betainc((n + 1) * p, (n + 1) * (1 - p), np.arange(n + 1) / n)  # (K, N + 1)
        knots = np.diff(cumulative, axis=1) @ np.sort(values)
        rounded = (float(f"{knot:.5g}") for knot in np.maximum.accumulate(knots))
        return cls(end=end, knots=tuple(rounded))

    @cached_property
    def _z(self) -> np.ndarray:
        return np.linspace(ndtri(self.end), -ndtri(self.end), len(self.knots))

    def quantile(self, z: float) -> float:
        """The value at normal score `z`; the scores' whole line maps between the outer knots."""
        u = self.end + float(ndtr(z)) * (1 - 2 * self.end)
        return float(np.interp(ndtri(u), self._z, self.knots))

    def cdf(self, value: float) -> float:
        """The share of the distribution below `value`, 0..1; in a tie, the middle of it."""
        knots = np.asarray(self.knots)
        left = int(np.searchsorted(knots, value, side="left"))
        right = int(np.searchsorted(knots, value, side="right"))
        if left == right == 0:
            return 0.0
        if left == right == len(knots):
            return 1.0
        if left == right:
            z = np.interp(value, knots[left - 1 : left + 1], self._z[left - 1 : left + 1])
        else:
            z = (self._z[left] + self._z[right - 1]) / 2
        return min(1.0, max(0.0, (float(ndtr(z)) - self.end) / (1 - 2 * self.end)))

    def score(self, value: float) -> float:
        """The normal score of `value`, at most `_Z_END` away from 0."""
        return float(np.clip(ndtri(self.cdf(value)), -_Z_END, _Z_END))


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """The subjects that share the levels of every factor, see `ldm.covariates.strata`.

    Attributes:
        levels: one level for each factor, in the schema's order.
        probability: share of the cohort.
        margins: one for each continuous covariate, in the schema's order.
        rank_correlations: Spearman's, (C, C) over the continuous covariates.
        shares: for each categorical covariate that is no factor, how often its levels occur.
    """

    levels: tuple[str, ...]
    probability: float
    margins: tuple[MarginalDistribution, ...]
    rank_correlations: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def fit(cls, levels: tuple[str, ...], probability: float, numbers: np.ndarray) -> Stratum:
        """A stratum from the (C, N) continuous values that it takes."""
        from scipy.stats import rankdata  # takes half a second to load, and drawing needs it not

        ranks = np.array([rankdata(values) for values in numbers]).reshape(numbers.shape)
        centred = ranks - ranks.mean(axis=1, keepdims=True)
        norms = np.sqrt((centred**2).sum(axis=1))
        norms[norms == 0] = np.inf  # a constant covariate is tied to nothing
        correlations = (centred / norms[:, None]) @ (centred / norms[:, None]).T
        np.fill_diagonal(correlations, 1.0)
        return cls(
            levels=levels,
            probability=probability,
            margins=tuple(MarginalDistribution.fit(values) for values in numbers),
            rank_correlations=tuple(tuple(round(float(r), 4) for r in row) for row in correlations),
        )

    @cached_property
    def copula(self) -> np.ndarray:
        """The correlations of the normal scores, (C, C), positive definite.

        Under a Gaussian copula Spearman's rho is 6/pi asin(r/2) (Kruskal 1958, JASA 53:814).
        """
        r = 2 * np.sin(np.pi / 6 * np.array(self.rank_correlations, dtype=np.float64))
        r = r.reshape(len(self.margins), len(self.margins))
        eigenvalues, vectors = np.linalg.eigh(r)
        r = (vectors * np.maximum(eigenvalues, 1e-3)) @ vectors.T
        scale = np.sqrt(np.diag(r))
        return np.asarray(r / np.outer(scale, scale))

    def log_density(self, fixed: Mapping[int, float], widths: np.ndarray) -> float:
        """Log of the density of some continuous values, up to a constant of all strata.

        Args:
            fixed: values by position among the continuous covariates.
            widths: (C,) half widths of the windows in which a margin's density is measured.
        """
        if not fixed:
            return 0.0
        total = 0.0
        for k, value in fixed.items():
            margin, width = self.margins[k], widths[k]
            share = margin.cdf(value + width) - margin.cdf(value - width)
            total += math.log(max(share, 1e-4) / width)
        z = np.array([self.margins[k].score(value) for k, value in fixed.items()])
        r = self.copula[np.ix_(list(fixed), list(fixed))]
        tie = z @ np.linalg.solve(r, z) - z @ z + math.log(np.linalg.det(r))
        return total - 0.5 * float(tie)

    def draw(self, noise: np.ndarray, fixed: Mapping[int, float]) -> list[float]:
        """Continuous values given those in `fixed`, from (C,) standard normal `noise`."""
        given = sorted(fixed)
        free = [k for k in range(len(self.margins)) if k not in fixed]
        r = self.copula
        z_given = np.array([self.margins[k].score(fixed[k]) for k in given])
        weights = np.linalg.solve(r[np.ix_(given, given)], r[np.ix_(given, free)])
        mean = np.clip(z_given @ weights, -_Z_END, _Z_END)
        covariance = r[np.ix_(free, free)] - r[np.ix_(free, given)] @ weights
        z = mean + np.linalg.cholesky(covariance) @ noise[free]
        drawn = {k: self.margins[k].quantile(float(zk)) for k, zk in zip(free, z, strict=True)}
        return [fixed[k] if k in fixed else drawn[k] for k in range(len(self.margins))]
