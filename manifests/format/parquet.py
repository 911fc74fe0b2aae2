"""Parquet as a release has it: the same table gives the same bytes; reading fetches ranges."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import ReleaseError
from manifests.format.parquet_limits import (
    FOOTER_LIMITS,
    LimitError,
    budget_of,
    check_claims,
    read_limited,
    text_columns,
)
from manifests.storage.base import Store
from manifests.text import one_line

ROW_GROUP_ROWS = 65_536
MOST_FILE_BYTES = 4 * 2**30  # of a manifest that is read as a whole; a row of ours has some 180
MOST_PART_BYTES = 256 * 2**20


def parquet_bytes(table: pa.Table) -> bytes:
    """`table` as a Parquet file: a function of the table's values and schema alone.

    Chunks are merged first, because pages are cut at their edges.
    """
    sink = io.BytesIO()
    with parquet_writer(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
    return sink.getvalue()


def parquet_writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """Writes a Parquet file to a path or file; a row group for each `ROW_GROUP_ROWS` rows."""
    return pq.ParquetWriter(sink, schema, compression="zstd", compression_level=3, version="2.6")


def check_written(path: Path, unpacked: int) -> None:
    """Raise where a manifest that was just written is more than its readers take.

    Args:
        unpacked: the bytes of its rows in memory.

    Raises:
        ReleaseError: too many rows or bytes; exit code 1.
    """
    size = path.stat().st_size
    try:
        if size > MOST_FILE_BYTES:
            raise LimitError(f"{size:,} bytes, expected at most {MOST_FILE_BYTES:,}")
        budget = budget_of(size)
        if unpacked > budget:
            raise LimitError(f"{unpacked:,} bytes when unpacked, expected at most {budget:,}")
        with opened(path) as file:
            check_claims(file, budget)
    except LimitError as error:
        raise ReleaseError(
            f"{path.name} would be more than its readers take ({error}); print fewer samples in a"
            " release",
            exit_code=1,
        ) from None


def table_from_bytes(data: bytes, name: str) -> pa.Table:
    """The table in a Parquet file of that name. Raises ReleaseError where it is broken."""
    return _read(pa.BufferReader(data), len(data), name, None)


def row_count(store: Store, key: str) -> int:
    """The number of rows of a stored Parquet file, from its footer. KeyError where none is."""
    name = f"{store.uri}/{key}"
    with store.open(key) as file, told(name), opened(file) as parquet:
        check_claims(parquet)
        return int(parquet.metadata.num_rows)


def read_columns(store: Store, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The named columns (all where None) of a stored Parquet file. KeyError where none is.

    Only their column chunks are fetched.
    """
    with store.open(key) as file:
        size = file.seek(0, io.SEEK_END)
        return _read(file, size, f"{store.uri}/{key}", columns)


def _read(source: Any, size: int, name: str, columns: Sequence[str] | None) -> pa.Table:
    with told(name), opened(source) as file:
        wanted = file.schema_arrow.names if columns is None else list(columns)
        absent = set(wanted) - set(file.schema_arrow.names)
        if absent or len(set(wanted)) < len(wanted):
            raise LimitError(f"no column {', '.join(sorted(absent))}" if absent else "column twice")
        with opened(source, read_dictionary=text_columns(file), metadata=file.metadata) as folded:
            return read_limited(file, folded, size, wanted)


def opened(source: Any, **options: Any) -> pq.ParquetFile:
    """A Parquet file, to be read in this thread alone.

    Arrow's own threads must not hold a Python file: one that lets go of it while the interpreter
    ends aborts the process. So neither pre_buffer nor `pq.read_table`, which use them.
    """
    return pq.ParquetFile(source, pre_buffer=False, **FOOTER_LIMITS, **options)


@contextmanager
def told(name: str) -> Iterator[None]:
    """Arrow's errors as one line; UnicodeDecodeError is that of a column's name or metadata."""
    try:
        yield
    except (pa.ArrowException, OSError, LimitError, UnicodeDecodeError) as error:
        reason = one_line(error)[:300]
        line = f"{name}: not a readable Parquet file ({reason})"
        raise ReleaseError(line, exit_code=1) from error
