"""Into which strata a cohort is divided, and whose values a stratum of few people takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ldm.covariates.schema import CovariateSchema

SMALLEST_STRATUM = 20  # people; a smaller one takes the values of more, see `Pooling`
MOST_STRATA = 256


class Pooling:
    """The strata of a cohort, by its categorical covariates.

    The strata are the combinations of the levels of the factors: all categorical covariates, or
    where those make more than `MOST_STRATA` combinations, the ones that tell most of the numbers.
    A stratum of fewer than `SMALLEST_STRATUM` people is pooled with others: the factor that tells
    least is let go, then the next, until there are enough. A level that fewer people than that
    have at all is let go first.

    Args:
        schema: the covariates.
        table: (N,) values of each.
    """

    def __init__(self, schema: CovariateSchema, table: Mapping[str, np.ndarray]) -> None:
        labels = {c.name: table[c.name] for c in schema.categorical}
        numbers = [table[c.name] for c in schema.continuous]
        self._count = len(next(iter(table.values())))
        told = {name: told_share(values, numbers) for name, values in labels.items()}
        order = sorted(labels, key=lambda name: -told[name])
        chosen = _within({c.name: len(c.levels) for c in schema.categorical}, order)
        self.factors = tuple(name for name in labels if name in chosen)
        self.minors = tuple(name for name in labels if name not in chosen)
        self._weakest_first = [name for name in reversed(order) if name in chosen]
        self._labels = labels

    def people(self, levels: Sequence[str]) -> np.ndarray:
        """Who belongs to the stratum with these levels of the factors, (N,) bool."""
        return self._who(dict(zip(self.factors, levels, strict=True)))

    def pool(self, levels: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], np.ndarray]:
        """The factors and levels that are kept of a stratum, and whose values it takes.

        At least `SMALLEST_STRATUM` people's, or everybody's.
        """
        kept = dict(zip(self.factors, levels, strict=True))
        kept = {
            name: x for name, x in kept.items() if self._who({name: x}).sum() >= SMALLEST_STRATUM
        }
        for name in self._weakest_first:
            if self._who(kept).sum() >= SMALLEST_STRATUM:
                break
            kept.pop(name, None)
        return tuple(kept.items()), self._who(kept)

    def shares(
        self, covariate_levels: Sequence[str], name: str, who: np.ndarray
    ) -> tuple[float, ...]:
        """How often each level of a covariate that is no factor occurs among some people."""
        values = self._labels[name][who]
        return tuple(round(float((values == level).mean()), 4) for level in covariate_levels)

    def _who(self, kept: Mapping[str, str]) -> np.ndarray:
        found = np.ones(self._count, dtype=bool)
        for name, level in kept.items():
            found &= self._labels[name] == level
        return found


def told_share(labels: np.ndarray, numbers: Sequence[np.ndarray]) -> float:
    """How much groups tell of numbers: the share of the ranks' variance that lies between them.

    Of the number of which they tell most; chance alone gives 0 on average (epsilon squared, Kelley
    1935, PNAS 21:554, of the ranks as in Kruskal and Wallis' test).

    Args:
        labels: (N,) names of groups.
        numbers: (N,) each.
    """
    from scipy.stats import rankdata  # takes half a second to load, and drawing needs it not

    groups, place = np.unique(labels.astype(str), return_inverse=True)
    n, k = len(labels), len(groups)
    if k < 2 or n <= k:
        return 0.0
    sizes = np.bincount(place)
    found = [0.0]
    for values in numbers:
        ranks = rankdata(values) - (n + 1) / 2
        total = float((ranks**2).sum())
        between = float((np.bincount(place, weights=ranks) ** 2 / sizes).sum())
        if total > 0:
            found.append(1 - (1 - between / total) * (n - 1) / (n - k))
    return max(found)


def scarce(schema: CovariateSchema, table: Mapping[str, np.ndarray]) -> list[str]:
    """Levels of too few people for a distribution of their own: `group FTD (12 people)`."""
    told = []
    for covariate in schema.categorical:
        for level in covariate.levels:
            count = int((table[covariate.name] == level).sum())
            if 0 < count < SMALLEST_STRATUM:
                told.append(f"{covariate.name} {level} ({count} people)")
    return told


def _within(levels: Mapping[str, int], order: Sequence[str]) -> set[str]:
    """The covariates, in that order of preference, whose combinations are not too many."""
    if math.prod(levels.values()) <= MOST_STRATA:
        return set(levels)
    chosen: set[str] = set()
    strata = 1
    for name in order:
        if strata * levels[name] <= MOST_STRATA:
            chosen.add(name)
            strata *= levels[name]
    return chosen
