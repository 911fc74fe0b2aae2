"""Rows of a stored Parquet file, of which only the chunks that are needed are fetched."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.parquet import (
    LimitError,
    budget_of,
    check_claims,
    limited_batches,
    opened,
    text_columns,
    told,
)
from manifests.storage.base import Store


class RowFilter(Protocol):
    """Which rows are wanted.

    Attributes:
        columns: that it looks at.
        bounds: what every such row satisfies, as the footer's least and greatest values tell; None
            where nothing is known.
    """

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def bounds(self) -> pc.Expression | None: ...

    def apply(self, table: pa.Table) -> pa.Table:
        """The rows that satisfy it."""


class Pushed:
    """A filter that DuckDB hands down to whoever reads for it."""

    def __init__(self, where: pc.Expression, schema: pa.Schema) -> None:
        self.bounds = where
        self.columns = columns_of_filter(where, schema)

    def apply(self, table: pa.Table) -> pa.Table:
        return table.filter(self.bounds)


class StoredRows:
    """An open Parquet file, read in the caller's thread and within the limits of
    `manifests.format.parquet`.

    Attributes:
        schema: the file's.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._source, self._name = file, name
        self._size = file.seek(0, io.SEEK_END)
        with told(name):
            self._file = opened(file)
            self.schema: pa.Schema = self._file.schema_arrow
            check_claims(self._file, budget_of(self._size))
            if len(set(self.schema.names)) < len(self.schema.names):
                raise LimitError("column twice")

    def batches(
        self, columns: Sequence[str], where: RowFilter | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Those columns of the rows that satisfy `where`, in order; fetched as they are taken.

        A row group that cannot have such a row, by the least and greatest values that the footer
        tells of, is not fetched.
        """
        needed = list(columns)
        groups = list(range(self._file.num_row_groups))
        if where is not None:
            needed = list(dict.fromkeys([*needed, *where.columns]))
            if where.bounds is not None:
                groups = self._groups(where.bounds)
        folding = {"read_dictionary": text_columns(self._file), "metadata": self._file.metadata}
        with told(self._name), opened(self._source, **folding) as folded:
            for batch in limited_batches(self._file, folded, self._size, needed, groups):
                table = pa.Table.from_batches([batch])
                kept = table if where is None else where.apply(table)
                yield from kept.select(list(columns)).to_batches()

    def table(
        self,
        columns: Sequence[str],
        where: RowFilter | None = None,
        *,
        limit: int | None = None,
    ) -> pa.Table:
        """The first rows of them, all where no limit is given, as a table."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        schema = schema.with_metadata(self.schema.metadata)
        taken, count = [], 0
        if limit != 0:
            for batch in self.batches(columns, where):
                taken.append(batch)
                count += batch.num_rows
                if limit is not None and count >= limit:
                    break
        return pa.Table.from_batches(taken, schema=schema).slice(0, limit)

    def _groups(self, where: pc.Expression) -> list[int]:
        """Row groups that may have a row which satisfies `where`.

        Arrow judges a copy of the footer, for its threads must not hold our file.
        """
        from pyarrow.dataset import ParquetFileFormat

        footer = io.BytesIO()
        self._file.metadata.write_metadata_file(footer)
        fragment = ParquetFileFormat().make_fragment(pa.BufferReader(footer.getvalue()))
        chosen = fragment.subset(filter=where, schema=self.schema)
        return [group.id for group in chosen.row_groups]


@contextmanager
def stored_rows(store: Store, key: str) -> Iterator[StoredRows]:
    """The rows of a stored Parquet file. KeyError where there is none."""
    with store.open(key) as file:
        yield StoredRows(file, f"{store.uri}/{key}")


def columns_of_filter(where: pc.Expression, schema: pa.Schema) -> list[str]:
    """The columns that an expression looks at: those without which it means nothing."""
    from pyarrow.dataset import dataset

    found = []
    for place, name in enumerate(schema.names):
        try:
            dataset(schema.remove(place).empty_table()).scanner(filter=where)
        except pa.ArrowInvalid:
            found.append(name)
    return found
