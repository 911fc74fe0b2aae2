"""How the covariates of a cohort are spread and tied together, without any subject's row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ldm.covariates.copula import MarginalDistribution, Stratum
from ldm.covariates.covariate import Row
from ldm.covariates.schema import UNCONDITIONAL, CovariateSchema, column
from ldm.covariates.sources import TableCovariates, uniform
from ldm.errors import LdmError

__all__ = ["CohortDistribution", "TableCovariates", "uniform"]

FORMAT_VERSION = 1
SMALLEST_STRATUM = 20  # subjects; a smaller one borrows the whole cohort's margins and ties


@dataclass(frozen=True, kw_only=True)
class CohortDistribution:
    """The joint distribution of a cohort's covariates: a Gaussian copula per stratum.

    Kept of the cohort: shares, smoothed quantiles (about one for four subjects, 33 at most) and
    rank correlations. No subject's row, and no value that is one subject's alone.
    """

    schema: CovariateSchema
    strata: tuple[Stratum, ...]

    @classmethod
    def fit(cls, schema: CovariateSchema, columns: Mapping[str, Any]) -> CohortDistribution:
        """The distribution of a cohort.

        Args:
            schema: the covariates.
            columns: (N,) values of each covariate, physical units or level names; a DataFrame
                or a dict of arrays.

        Raises:
            LdmError: a missing, empty or bad column, columns of different lengths, or fewer than
                8 subjects.
        """
        table = {c.name: column(c, columns) for c in schema.covariates}
        lengths = {len(values) for values in table.values()}
        if len(lengths) > 1:
            raise LdmError(f"columns of different lengths {sorted(lengths)}: expected one length")
        n = lengths.pop()
        if n < 8:
            raise LdmError(f"a cohort of {n} subjects: expected at least 8 to fit a distribution")
        numbers = np.array([table[c.name] for c in schema.continuous]).reshape(-1, n)
        strata = []
        for levels in itertools.product(*(c.levels for c in schema.categorical)):
            chosen = np.ones(n, dtype=bool)
            for covariate, level in zip(schema.categorical, levels, strict=True):
                chosen &= table[covariate.name] == level
            members = chosen if chosen.sum() >= SMALLEST_STRATUM else np.ones(n, dtype=bool)
            strata.append(Stratum.fit(levels, float(chosen.mean()), numbers[:, members]))
        return cls(schema=schema, strata=tuple(strata))

    @classmethod
    def of_nothing(cls) -> CohortDistribution:
        """The distribution of an unconditional model: its only row is the empty one."""
        stratum = Stratum(levels=(), probability=1.0, margins=(), rank_correlations=())
        return cls(schema=UNCONDITIONAL, strata=(stratum,))

    def sample(self, rng: np.random.Generator, fixed: Mapping[str, object] | None = None) -> Row:
        """One row of covariates, those missing from `fixed` drawn given the others.

        A fixed value may lie beyond the cohort's; it then counts as the cohort's extreme. The
        same numbers are taken from `rng` whatever is fixed.

        Raises:
            LdmError: an unknown name or level, or a number that is not finite.
        """
        known = self.schema.validate(fixed or {}, partial=True)
        u, noise = rng.random(), rng.standard_normal(len(self.schema.continuous))
        names = [c.name for c in self.schema.continuous]
        given = {k: float(known[name]) for k, name in enumerate(names) if name in known}
        stratum = self._choose(u, known, given)
        row: Row = dict(zip((c.name for c in self.schema.categorical), stratum.levels, strict=True))
        for covariate, value in zip(
            self.schema.continuous, stratum.draw(noise, given), strict=True
        ):
            row[covariate.name] = covariate.round(value)
        return {name: known.get(name, row[name]) for name in self.schema.names}

    def _choose(self, u: float, known: Row, given: Mapping[int, float]) -> Stratum:
        """The stratum at `u` in 0..1, by Bayes from what is known."""
        wanted = [known.get(c.name) for c in self.schema.categorical]
        strata = [
            s
            for s in self.strata
            if all(w in (None, level) for w, level in zip(wanted, s.levels, strict=True))
        ]
        if len(strata) == 1:
            return strata[0]
        prior = np.array([s.probability for s in strata])
        if not prior.any():
            prior = np.ones(len(strata))
        within = {k: float(np.clip(x, *self._ends[:, k])) for k, x in given.items()}
        logs = np.array([s.log_density(within, self._widths) for s in strata])
        weights = prior * np.exp(logs - logs[prior > 0].max())
        cumulative = np.cumsum(weights) / weights.sum()
        return strata[min(int(np.searchsorted(cumulative, u, side="right")), len(strata) - 1)]

    @cached_property
    def _ends(self) -> np.ndarray:
        """The least and greatest knots over all strata, (2, C)."""
        knots = [[(m.knots[0], m.knots[-1]) for m in s.margins] for s in self.strata]
        ends = np.array(knots, dtype=np.float64).reshape(len(self.strata), -1, 2)
        return np.array([ends[..., 0].min(axis=0), ends[..., 1].max(axis=0)])

    @cached_property
    def _widths(self) -> np.ndarray:
        """Half widths of the windows of `Stratum.log_density`, (C,), positive."""
        width = 0.05 * (self._ends[1] - self._ends[0])
        return np.where(width > 0, width, 1.0)

    def to_json(self) -> dict[str, Any]:
        """The distribution as JSON values."""
        return {
            "format_version": FORMAT_VERSION,
            "schema": self.schema.to_json(),
            "strata": [
                {
                    "levels": list(s.levels),
                    "probability": s.probability,
                    "margins": [{"end": m.end, "knots": list(m.knots)} for m in s.margins],
                    "rank_correlations": [list(row) for row in s.rank_correlations],
                }
                for s in self.strata
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CohortDistribution:
        """The inverse of `to_json`.

        Raises:
            LdmError: another format version, or a field that is missing or wrong.
        """
        try:
            if document["format_version"] != FORMAT_VERSION:
                raise LdmError(
                    f"covariate distribution of format {document['format_version']}: this "
                    f"version of brainpress reads format {FORMAT_VERSION}"
                )
            schema = CovariateSchema.from_json(document["schema"])
            strata = tuple(_read_stratum(entry, schema) for entry in document["strata"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, LdmError):
                raise
            raise LdmError(f"covariate distribution unreadable: {error!a:.200}") from None
        levels = [c.levels for c in schema.categorical]
        # First whether they are as many: the combinations may be too many to list.
        if len(strata) != math.prod(map(len, levels)) or (
            {s.levels for s in strata} != set(itertools.product(*levels))
        ):
            raise LdmError("covariate distribution unreadable: its strata do not fit its schema")
        shares = [s.probability for s in strata]
        if min(shares) < 0 or not 0 < sum(shares) < math.inf:
            raise LdmError("covariate distribution unreadable: the shares of its strata are none")
        return cls(schema=schema, strata=strata)


def _read_stratum(entry: Mapping[str, Any], schema: CovariateSchema) -> Stratum:
    margins = tuple(
        MarginalDistribution(end=float(m["end"]), knots=tuple(float(x) for x in m["knots"]))
        for m in entry["margins"]
    )
    correlations = np.array(entry["rank_correlations"], dtype=np.float64)
    count = len(schema.continuous)
    if len(margins) != count or correlations.size != count * count:
        raise LdmError("covariate distribution unreadable: its margins do not fit its schema")
    if not all(np.isfinite(m.knots).all() for m in margins):
        raise LdmError("covariate distribution unreadable: a knot that is not finite")
    if not all(0 < m.end < 0.5 and len(m.knots) > 1 for m in margins):
        raise LdmError("covariate distribution unreadable: a margin has no range")
    if not all(np.all(np.diff(m.knots) >= 0) for m in margins):
        raise LdmError("covariate distribution unreadable: the knots of a margin decrease")
    if not (np.isfinite(correlations).all() and np.abs(correlations).max(initial=0) <= 1):
        raise LdmError("covariate distribution unreadable: a rank correlation beyond -1..1")
    return Stratum(
        levels=tuple(str(level) for level in entry["levels"]),
        probability=float(entry["probability"]),
        margins=margins,
        rank_correlations=tuple(tuple(float(r) for r in row) for row in correlations),
    )
