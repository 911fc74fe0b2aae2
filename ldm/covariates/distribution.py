"""How the covariates of a cohort are spread and tied together, without any subject's row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ldm.covariates.copula import MarginalDistribution, Stratum
from ldm.covariates.covariate import Row
from ldm.covariates.fitting import column
from ldm.covariates.schema import UNCONDITIONAL, CovariateSchema
from ldm.covariates.sources import TableCovariates, uniform
from ldm.covariates.strata import Pooling
from ldm.errors import LdmError

__all__ = ["CohortDistribution", "TableCovariates", "uniform"]

FORMAT_VERSION = 1
WITH_MINORS = 2  # the format of one that has `minors`
FEWEST = 8  # subjects to fit a distribution to


@dataclass(frozen=True, kw_only=True)
class CohortDistribution:
    """The joint distribution of a cohort's covariates: a Gaussian copula per stratum.

    Kept of the cohort: shares, smoothed quantiles (about one for four subjects, 33 at most) and
    rank correlations. No subject's row, and no value that is one subject's alone.

    Attributes:
        schema: the covariates.
        strata: one for each combination of levels of the factors.
        minors: the categorical covariates that are no factors: drawn each by itself, by the shares
            of its levels in the stratum.
    """

    schema: CovariateSchema
    strata: tuple[Stratum, ...]
    minors: tuple[str, ...] = ()

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
        if n < FEWEST:
            raise LdmError(
                f"a cohort of {n} subjects: expected at least {FEWEST} to fit a distribution"
            )
        numbers = np.array([table[c.name] for c in schema.continuous]).reshape(-1, n)
        pooling = Pooling(schema, table)
        fitted: dict[tuple[tuple[str, str], ...], Stratum] = {}
        strata = []
        for levels in itertools.product(*(schema[name].levels for name in pooling.factors)):
            kept, members = pooling.pool(levels)
            if kept not in fitted:
                shares = tuple(
                    pooling.shares(schema[name].levels, name, members) for name in pooling.minors
                )
                fitted[kept] = replace(Stratum.fit((), 0.0, numbers[:, members]), shares=shares)
            share = float(pooling.people(levels).mean())
            strata.append(replace(fitted[kept], levels=levels, probability=share))
        return cls(schema=schema, strata=tuple(strata), minors=pooling.minors)

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
        alone = rng.random(len(self.minors))
        names = [c.name for c in self.schema.continuous]
        given = {k: float(known[name]) for k, name in enumerate(names) if name in known}
        stratum = self._choose(u, known, given)
        row: Row = dict(zip(self.factors, stratum.levels, strict=True))
        for name, shares, v in zip(self.minors, stratum.shares, alone, strict=True):
            row[name] = self.schema[name].levels[_at(v, np.array(shares))]
        for covariate, value in zip(
            self.schema.continuous, stratum.draw(noise, given), strict=True
        ):
            row[covariate.name] = covariate.round(value)
        return {name: known.get(name, row[name]) for name in self.schema.names}

    @property
    def factors(self) -> tuple[str, ...]:
        """The categorical covariates by whose levels there are strata, in the schema's order."""
        return tuple(c.name for c in self.schema.categorical if c.name not in self.minors)

    def _choose(self, u: float, known: Row, given: Mapping[int, float]) -> Stratum:
        """The stratum at `u` in 0..1, by Bayes from what is known."""
        wanted = [known.get(name) for name in self.factors]
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
        logs += np.array([self._log_shares(s, known) for s in strata])
        weights = prior * np.exp(logs - logs[prior > 0].max())
        return strata[_at(u, weights)]

    def _log_shares(self, stratum: Stratum, known: Row) -> float:
        """Log of how probable the known levels of the minors are in a stratum."""
        total = 0.0
        for name, shares in zip(self.minors, stratum.shares, strict=True):
            if name in known:
                total += math.log(
                    max(shares[self.schema[name].levels.index(str(known[name]))], 1e-4)
                )
        return total

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
            "format_version": WITH_MINORS if self.minors else FORMAT_VERSION,
            "schema": self.schema.to_json(),
            **({"minors": list(self.minors)} if self.minors else {}),
            "strata": [
                {
                    "levels": list(s.levels),
                    "probability": s.probability,
                    "margins": [{"end": m.end, "knots": list(m.knots)} for m in s.margins],
                    "rank_correlations": [list(row) for row in s.rank_correlations],
                    **({"shares": [list(one) for one in s.shares]} if self.minors else {}),
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
            version = document["format_version"]
            if version not in (FORMAT_VERSION, WITH_MINORS):
                raise LdmError(
                    f"covariate distribution of format {version!a:.60}: this version of brainpress "
                    f"reads format {FORMAT_VERSION} and {WITH_MINORS}"
                )
            schema = CovariateSchema.from_json(document["schema"])
            minors = _read_minors(document, schema) if version == WITH_MINORS else ()
            strata = tuple(_read_stratum(entry, schema, minors) for entry in document["strata"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, LdmError):
                raise
            raise LdmError(f"covariate distribution unreadable: {error!a:.200}") from None
        factors = [c for c in schema.categorical if c.name not in minors]
        if len(strata) != math.prod(len(c.levels) for c in factors):
            raise LdmError("covariate distribution unreadable: its strata do not fit its schema")
        shares = [s.probability for s in strata]
        if min(shares) < 0 or not 0 < sum(shares) < math.inf:
            raise LdmError("covariate distribution unreadable: the shares of its strata are none")
        expected = set(itertools.product(*(c.levels for c in factors)))
        if {s.levels for s in strata} != expected or len(strata) != len(expected):
            raise LdmError("covariate distribution unreadable: its strata do not fit its schema")
        return cls(schema=schema, strata=strata, minors=minors)


def _at(u: float, weights: np.ndarray) -> int:
    """The place at `u` in 0..1 along weights that are not all 0."""
    cumulative = np.cumsum(weights) / weights.sum()
    return min(int(np.searchsorted(cumulative, u, side="right")), len(weights) - 1)


def _read_minors(document: Mapping[str, Any], schema: CovariateSchema) -> tuple[str, ...]:
    minors = tuple(document["minors"])
    if not minors or minors != tuple(c.name for c in schema.categorical if c.name in minors):
        raise LdmError("covariate distribution unreadable: its minors do not fit its schema")
    return minors


def _read_shares(
    entry: Mapping[str, Any], schema: CovariateSchema, minors: tuple[str, ...]
) -> tuple[tuple[float, ...], ...]:
    shares = tuple(tuple(float(x) for x in one) for one in entry["shares"])
    if [len(one) for one in shares] != [len(schema[name].levels) for name in minors]:
        raise LdmError("covariate distribution unreadable: shares of levels do not fit its schema")
    if not all(min(one) >= 0 and 0 < sum(one) < math.inf for one in shares):
        raise LdmError("covariate distribution unreadable: the shares of some levels are none")
    return shares


def _read_stratum(
    entry: Mapping[str, Any], schema: CovariateSchema, minors: tuple[str, ...]
) -> Stratum:
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
        shares=_read_shares(entry, schema, minors) if minors else (),
    )
