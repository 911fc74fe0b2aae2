"""A figure with the interval it is known to and the number it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ldm import noise
from ldm.errors import LdmError
from ldm.evaluation.statistics import checks

CONFIDENCE = 0.95
DRAWS = 2000
Method = Literal["percentile", "bca"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its confidence interval.

    Attributes:
        value: the figure, in its own unit.
        low, high: ends of the interval, `CONFIDENCE` (95 %) unless its maker says otherwise.
        n: how many independent units it rests on (volumes, subjects, not voxels).
        n_reference: of a comparison of two sets, the size of the other one.
    """

    value: float
    low: float
    high: float
    n: int
    n_reference: int | None = None

    def to_json(self) -> dict[str, float | int | None]:
        """Six significant digits; null where a figure is undefined (JSON has no NaN)."""
        found: dict[str, float | int | None] = {
            name: _rounded(getattr(self, name)) for name in ("value", "low", "high")
        }
        found["n"] = self.n
        if self.n_reference is not None:
            found["n_reference"] = self.n_reference
        return found

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Estimate:
        """The inverse of `to_json`, to its digits."""
        figures = {
            name: math.nan if document[name] is None else float(document[name])
            for name in ("value", "low", "high")
        }
        return cls(**figures, n=document["n"], n_reference=document.get("n_reference"))

    def exponential(self) -> Estimate:
        """Of a figure whose logarithm this is."""
        value, low, high = (math.exp(number) for number in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high)

    def __str__(self) -> str:
        of = f"n = {self.n}" if self.n_reference is None else f"n = {self.n} / {self.n_reference}"
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g}, {of})"


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def bootstrap(
    statistic: Callable[..., float],
    *columns: np.ndarray,
    method: Method = "bca",
    draws: int = DRAWS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Estimate:
    """`statistic` of columns (N, ...), rows drawn together with replacement.

    Source: Efron & Tibshirani 1993, chapter 13 (percentile), and Efron 1987, JASA 82:171, eq. 2.3
    and 6.6 (BCa: corrected for bias, and for acceleration by the jackknife). Where BCa is
    undefined, every draw on one side of the value, the percentile interval stands in.

    Args:
        statistic: of columns like those given, to one number; NaN in a draw leaves it out.
        columns: each (N, ...), N at least 2.

    Raises:
        LdmError: fewer than two rows, or columns of different lengths.
    """
    n = checks.same_length(*((f"column {i}", column) for i, column in enumerate(columns)))
    if n < 2:
        raise LdmError(f"bootstrap of {n} rows: expected at least 2")
    value = float(statistic(*columns))
    rng = noise.generator(noise.EVALUATION, seed, n)
    drawn = np.empty(draws)
    for i in range(draws):
        chosen = rng.integers(n, size=n)
        drawn[i] = statistic(*(column[chosen] for column in columns))
    drawn = drawn[np.isfinite(drawn)]
    if not math.isfinite(value) or not len(drawn):
        return Estimate(value=value, low=math.nan, high=math.nan, n=n)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        tails = _bca_tails(statistic, columns, value, drawn, tails)
    low, high = np.quantile(drawn, tails)
    return Estimate(value=value, low=float(low), high=float(high), n=n)


def _bca_tails(
    statistic: Callable[..., float],
    columns: tuple[np.ndarray, ...],
    value: float,
    drawn: np.ndarray,
    tails: np.ndarray,
) -> np.ndarray:
    from scipy.special import ndtr, ndtri

    below = float((drawn < value).mean() + 0.5 * (drawn == value).mean())
    n = len(columns[0])
    kept = np.arange(1, n)  # the rows but one; the one left out moves from 0 to n - 1
    without = np.empty(n)
    for i in range(n):
        without[i] = statistic(*(column[kept] for column in columns))
        kept[i : i + 1] = i
    pull = without.mean() - without
    spread = float((pull**2).sum())
    if not 0 < below < 1 or not math.isfinite(spread) or spread == 0:
        return tails
    z0 = ndtri(below)
    acceleration = float((pull**3).sum()) / (6 * spread**1.5)
    z = z0 + ndtri(tails)
    return np.asarray(ndtr(z0 + z / (1 - acceleration * z)))


def mean(values: ArrayLike, *, seed: int = 0) -> Estimate:
    """The mean of (N,) independent values, with a BCa interval.

    Raises:
        LdmError: fewer than two, or not finite.
    """
    found = checks.vector(values, "values", at_least=2)
    return bootstrap(lambda x: float(x.mean()), found, seed=seed)


def median(values: ArrayLike, *, confidence: float = CONFIDENCE) -> Estimate:
    """The median of (N,) independent values, with the interval between two order statistics.

    Free of any distribution, and at least as wide as it says (David & Nagaraja 2003, section 7.1);
    of fewer than six values it is from the least to the greatest and holds less.

    Raises:
        LdmError: none, or not finite.
    """
    from scipy.stats import binom

    found = np.sort(checks.vector(values, "values"))
    n = len(found)
    below = max(0, int(binom.ppf((1 - confidence) / 2, n, 0.5)) - 1)  # 0-based rank of the end
    return Estimate(
        value=float(np.median(found)),
        low=float(found[below]),
        high=float(found[n - 1 - below]),
        n=n,
    )


def mean_over_pairs(
    values: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The mean of a figure of pairs, when volumes occur in several pairs.

    Pairs that share a volume are not independent: their products of deviations count in the
    variance too (Aronow, Samii & Assenova 2015, Polit. Anal. 23:564, eq. 4, times n / (n - 1)), and
    the interval is Student's with n - 1 degrees of freedom, n the number of volumes.

    Args:
        values: (P,) figures.
        first, second: (P,) ids of each pair's volumes. Ids of two different sets must differ.

    Returns:
        The estimate; `n` is the number of volumes.

    Raises:
        LdmError: fewer than two pairs, not finite, or columns of different lengths.
    """
    from scipy.special import stdtrit

    found = checks.vector(values, "values of pairs", at_least=2)
    one, other = np.asarray(first), np.asarray(second)
    checks.same_length(("values", found), ("first", one), ("second", other))
    volumes, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    n, value = len(volumes), float(found.mean())
    off = found - value
    own = np.bincount(places, weights=np.tile(off, 2))  # of each volume, the sum over its pairs
    alone = float((off**2).sum())
    variance = max(alone, float((own**2).sum()) - alone) / len(found) ** 2 * n / (n - 1)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * math.sqrt(variance)
    return Estimate(value=value, low=value - half, high=value + half, n=n)


def correlation(
    r: float, n: int, *, variance: float = 1.0, confidence: float = CONFIDENCE
) -> Estimate:
    """Pearson's r of `n` pairs with Fisher's interval, tanh(atanh r ± z sqrt(v / (n - 3))).

    Source: Fisher 1921, Metron 1:3. Assumes about bivariate normal data.

    Args:
        variance: v; 1.06 where `r` is Spearman's (Fieller, Hartley & Pearson 1957).

    Raises:
        LdmError: r not in -1..1, or n below 4.
    """
    from scipy.special import ndtri

    if not -1 - 1e-9 <= r <= 1 + 1e-9 or n < 4:
        raise LdmError(f"correlation {r:g} of {n} pairs: expected -1 to 1, of at least 4")
    z = math.atanh(min(1 - 1e-15, max(-1 + 1e-15, r)))
    half = float(ndtri((1 + confidence) / 2)) * math.sqrt(variance / (n - 3))
    return Estimate(value=r, low=math.tanh(z - half), high=math.tanh(z + half), n=n)


def proportion(count: int, n: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """A share count / n with the exact interval (Clopper & Pearson 1934, Biometrika 26:404).

    Raises:
        LdmError: n below 1 or a count beyond 0..n.
    """
    from scipy.special import betaincinv

    if n < 1 or not 0 <= count <= n:
        raise LdmError(f"share {count} of {n}: expected 0 to n, of at least 1")
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, n - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return Estimate(value=count / n, low=low, high=high, n=n)
