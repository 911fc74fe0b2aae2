"""Covariates that come from no cohort: drawn uniformly, or read from a user's table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ldm.covariates.covariate import Covariate, Row, Value
from ldm.covariates.schema import CovariateSchema
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


class TableCovariates:
    """A table whose row `i` holds the covariates of sample `i`.

    Columns that are no covariate are ignored; covariates that have no column are left for the
    caller to draw (`CohortDistribution.sample(rng, fixed=row)`).

    Args:
        schema: the model's covariates.
        rows: a DataFrame, or one mapping per sample.

    Raises:
        LdmError: no row, no column that is a covariate, or a bad value (its row is named).
    """

    def __init__(
        self, schema: CovariateSchema, rows: pd.DataFrame | Sequence[Mapping[str, object]]
    ) -> None:
        given = rows if isinstance(rows, Sequence) else rows.to_dict("records")
        records = cast("Sequence[Mapping[Any, object]]", given)
        if not records:
            raise LdmError("the table of covariates has no row: expected one for each sample")
        self.schema = schema
        self.names = tuple(name for name in schema.names if name in records[0])
        if not self.names:
            raise LdmError(
                f"the table of covariates has the columns {', '.join(map(str, records[0]))}: "
                f"expected at least one of {', '.join(schema.names)}"
            )
        self._rows = [self._checked(number, record) for number, record in enumerate(records)]

    @classmethod
    def from_file(cls, schema: CovariateSchema, path: str | Path) -> TableCovariates:
        """The table in a .csv or .tsv file with a header.

        Raises:
            LdmError: the file is missing or unreadable, or its values are bad.
        """
        import pandas as pd

        path = Path(path)
        if path.suffix not in (".csv", ".tsv"):
            raise LdmError(f"table of covariates {path}: expected a .csv or .tsv file")
        try:
            separator = "\t" if path.suffix == ".tsv" else ","
            table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error
            raise LdmError(f"table of covariates {path}: {reason}") from None
        try:
            return cls(schema, table)
        except LdmError as error:
            raise LdmError(f"{path}: {error}") from None

    def _checked(self, number: int, record: Mapping[Any, object]) -> Row:
        try:
            return self.schema.validate({n: record[n] for n in self.names}, partial=True)
        except KeyError as error:
            raise LdmError(f"row {number} of the table of covariates lacks {error}") from None
        except LdmError as error:
            raise LdmError(f"row {number} of the table of covariates: {error}") from None

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
