"""Rows that satisfy a filter, by SQL's own rules: DuckDB judges them, a batch at a time.

What is null satisfies no comparison, nor its opposite, as in SQL. DuckDB sees the columns that the
filter looks at, and nothing else; the rows that it chooses are taken from Arrow's own batch, so
that no other column is copied or changes its type.
"""

from __future__ import annotations

import functools
import operator
from functools import cached_property
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from manifests.errors import ReleaseError
from manifests.query.sql import connected
from manifests.query.where import Condition, parse_where
from manifests.query.where_tokens import shown
from manifests.text import one_line

TABLE = "manifest"
SLACK = 1e-9


class Filter:
    """A `--where`, ready to be asked for rows; closed by a `with` block.

    Attributes:
        columns: that it looks at.
    """

    def __init__(self, text: str, schema: pa.Schema) -> None:
        """Raises ReleaseError as `manifests.query.where.parse_where` does."""
        self._text = text
        self._condition: Condition = parse_where(text, schema)
        self.columns = self._condition.columns
        self._schema = pa.schema([schema.field(name) for name in self.columns])
        self._connection = connected()

    def __enter__(self) -> Filter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def apply(self, table: pa.Table) -> pa.Table:
        """The rows that satisfy it."""
        chosen = self._ask(f"SELECT ({self._condition.sql}) FROM {TABLE}", self._seen(table))
        return table.filter(chosen.column(0))

    @cached_property
    def bounds(self) -> pc.Expression | None:
        """What every such row satisfies, by which row groups are ruled out; None for nothing.

        It is as much of the filter as DuckDB would have a Parquet file judge, and the ends of
        doubles, which it would not: to it what is no number is greater than all numbers. In a
        manifest that is null. The ends are taken a little wider, as SQL's decimals may differ from
        our doubles in the last digit.
        """
        probe = _Probe(self._schema.remove_metadata().empty_table())
        self._ask(f"SELECT 1 FROM {TABLE} WHERE {self._condition.sql}", probe)
        known = [] if probe.bounds is None else [probe.bounds]
        for name, symbol, value in self._condition.ends:
            column, slack = pc.field(name), SLACK * max(1.0, abs(value))
            known.append(column >= value - slack if symbol == ">=" else column <= value + slack)
        return functools.reduce(operator.and_, known) if known else None

    def _seen(self, table: pa.Table) -> pa.Table:
        return table.select(list(self.columns)).replace_schema_metadata(None)

    def _ask(self, sql: str, rows: Any) -> pa.Table:
        import duckdb

        try:
            self._connection.register(TABLE, rows)
            return self._connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            reason = one_line(str(error).partition("\n\nLINE ")[0])[:400]
            raise ReleaseError(f"--where {shown(self._text)}: {reason}") from None


class _Probe(ds.InMemoryDataset):
    """An empty table that keeps the filter which DuckDB hands down to it."""

    bounds: pc.Expression | None = None

    def scanner(self, **asked: Any) -> ds.Scanner:
        self.bounds = asked.pop("filter", None)
        return super().scanner(**asked)
