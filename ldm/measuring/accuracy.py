"""How good a tool is: overlap, correlation and error, with 95 % intervals over subjects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ldm import noise

_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure over `n` subjects, and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int]:
        """The figure to four decimals."""
        return {
            "value": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "n": self.n,
        }

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def dice(found: np.ndarray, known: np.ndarray, structure: int) -> float:
    """Overlap of a structure in two label maps; NaN where neither has it."""
    a, b = found == structure, known == structure
    both = float(a.sum() + b.sum())
    return 2 * float((a & b).sum()) / both if both else float("nan")


def over_subjects(figure: Callable[..., float], *columns: np.ndarray, seed: int = 0) -> Figure:
    """`figure` of columns (N, ...) and its percentile interval, subjects drawn with replacement
    (Efron & Tibshirani 1993)."""
    n = len(columns[0])
    rng = noise.generator(noise.ORDER, seed, n)
    drawn = []
    for _ in range(_DRAWS):
        chosen = rng.integers(n, size=n)
        drawn.append(figure(*(column[chosen] for column in columns)))
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Figure(value=float(figure(*columns)), low=float(low), high=float(high), n=n)


def correlation(found: np.ndarray, known: np.ndarray) -> float:
    """Pearson's r; NaN where one of them does not vary."""
    if found.std() == 0 or known.std() == 0:
        return float("nan")
    return float(np.corrcoef(found, known)[0, 1])


def mean_error(found: np.ndarray, known: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.abs(found - known).mean())


def slope(found: np.ndarray, known: np.ndarray) -> float:
    """Of `found` on `known`, by least squares."""
    spread = known - known.mean()
    size = float(spread @ spread)
    return float(spread @ found) / size if size > 0 else float("nan")
