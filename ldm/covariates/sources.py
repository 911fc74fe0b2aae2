"""Covariates that come from no cohort: drawn uniformly, or read from a user's table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ldm.covariates.covariate import Covariate, Row, Value
from ldm.covariates.names import LABELS, hint, same_name
from ldm.covariates.plausible import beyond, check_asked
from ldm.covariates.schema import CovariateSchema
from ldm.covariates.text_table import read_text_table
from ldm.errors import LdmError

if TYPE_CHECKING:
    import pandas as pd


def uniform(
    schema: CovariateSchema, rng: np.random.Generator, fixed: Mapping[str, object] | None = None
) -> Row:
    """One row drawn independently and uniformly over the schema's ranges and levels.

    Covers the corners that no cohort has (the young with large ventricles). The same numbers are
    taken from `rng` whatever is fixed.

    Raises:
        LdmError: an unknown name or level in `fixed`, or a number that is not finite.
    """
    known = schema.validate(fixed or {}, partial=True)
    scaled = rng.random(len(schema))
    row = {
        c.name: _uniform_value(c, float(u)) for c, u in zip(schema.covariates, scaled, strict=True)
    }
    return {name: known.get(name, value) for name, value in row.items()}


def _uniform_value(covariate: Covariate, u: float) -> Value:
    if not covariate.is_continuous:
        return covariate.levels[int(u * len(covariate.levels))]
    value = covariate.minimum + u * (covariate.maximum - covariate.minimum)
    return min(covariate.maximum, max(covariate.minimum, covariate.round(value)))


def covariate_columns(schema: CovariateSchema, header: Sequence[str]) -> dict[str, str]:
    """The column of each covariate that a table has, in the schema's order.

    Raises:
        LdmError: a column that is no covariate and no label, two that are the same one, or none.
    """
    columns: dict[str, str] = {}
    for column in header:
        trimmed = column.strip()
        known = same_name(trimmed, schema.names)
        if known and known[0] in columns:
            raise LdmError(
                f"the table of covariates has {known[0]} twice, as {columns[known[0]]!r} and "
                f"{column!r}: leave one"
            )
        if known:
            columns[known[0]] = column
        elif trimmed.casefold() not in LABELS:
            found = f"unknown column {column!a:.60}" if trimmed else "a column without a name"
            raise LdmError(
                f"the table of covariates has {found}: {hint(trimmed, schema.names)}expected at "
                f"least one of {', '.join(schema.names)}, and nothing else but participant_id"
            )
    if not columns:
        raise LdmError(
            f"the table of covariates has the columns {', '.join(header)}: "
            f"expected at least one of {', '.join(schema.names)}"
        )
    return {name: columns[name] for name in schema.names if name in columns}


class TableCovariates:
    """A table whose row `i` holds the covariates of sample `i`.

    A column is a covariate whatever its case; those that say whose row it is (`participant_id`) are
    passed over. Covariates that have no column are left for the caller to draw
    (`CohortDistribution.sample(rng, fixed=row)`).

    Args:
        schema: the model's covariates.
        rows: a DataFrame, or one mapping per sample.

    Raises:
        LdmError: no row, a column that is no covariate, or a value that is bad or that no person
            has (its row is named).
    """

    def __init__(
        self, schema: CovariateSchema, rows: pd.DataFrame | Sequence[Mapping[str, object]]
    ) -> None:
        given = rows if isinstance(rows, Sequence) else rows.to_dict("records")
        records = cast("Sequence[Mapping[Any, object]]", given)
        if not records:
            raise LdmError("the table of covariates has no row: expected one for each sample")
        self.schema = schema
        columns = covariate_columns(schema, [str(name) for name in records[0]])
        self.names = tuple(columns)
        self._rows = [self._checked(*record, columns) for record in enumerate(records)]

    @classmethod
    def from_file(cls, schema: CovariateSchema, path: str | Path) -> TableCovariates:
        """The table in a .csv or .tsv file with a header.

        Raises:
            LdmError: the file is missing or unreadable, or its values are bad.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (".csv", ".tsv"):
            raise LdmError(f"table of covariates {path}: expected a .csv or .tsv file")
        try:
            separators = ("\t", ",", ";") if suffix == ".tsv" else (",", ";", "\t")
            table = read_text_table(path.read_bytes(), separators)
        except FileNotFoundError:
            raise LdmError(f"table of covariates {path}: no such file") from None
        except OSError as error:
            raise LdmError(f"table of covariates {path}: {error.strerror}") from None
        except LdmError as error:
            raise LdmError(f"table of covariates {path}: {error}") from None
        try:
            covariate_columns(schema, table.header)
            return cls(schema, [dict(zip(table.header, row, strict=True)) for row in table.rows])
        except LdmError as error:
            raise LdmError(f"{path}: {error}") from None

    def _checked(
        self, number: int, record: Mapping[Any, object], columns: Mapping[str, str]
    ) -> Row:
        try:
            given = {name: record[column] for name, column in columns.items()}
            row = self.schema.validate(given, partial=True)
            check_asked(self.schema, row)
            return row
        except KeyError as error:
            raise LdmError(f"row {number} of the table of covariates lacks {error}") from None
        except LdmError as error:
            raise LdmError(f"row {number} of the table of covariates: {error}") from None

    def beyond(self, n: int) -> list[tuple[int, list[str]]]:
        """Of the first `n` samples those asked beyond the model's range: which, and what."""
        told = ((index, beyond(self.schema, row)) for index, row in enumerate(self._rows[:n]))
        return [(index, what) for index, what in told if what]

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, index: int) -> Row:
        """The covariates of sample `index`, in physical units.

        Raises:
            LdmError: the table is shorter.
        """
        if not 0 <= index < len(self):
            raise LdmError(
                f"sample {index} has no row in the table of covariates, which has {len(self)}: "
                f"ask for at most {len(self)} samples or give a longer table"
            )
        return dict(self._rows[index])

    @property
    def fingerprint(self) -> str:
        """sha256, hexadecimal, of the rows as read."""
        return hashlib.sha256(json.dumps(self._rows).encode()).hexdigest()
