"""Parquet as a release has it: the same table gives the same bytes; reading fetches ranges."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import ReleaseError
from manifests.store import Store

ROW_GROUP_ROWS = 65_536


def parquet_bytes(table: pa.Table) -> bytes:
    """`table` as a Parquet file: a function of the table's values and schema alone.

    Chunks are merged first, because pages are cut at their edges.
    """
    sink = io.BytesIO()
    pq.write_table(
        table.combine_chunks(),
        sink,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
        compression_level=3,
        version="2.6",
    )
    return sink.getvalue()


def table_from_bytes(data: bytes, name: str) -> pa.Table:
    """The table in a Parquet file of that name. Raises ReleaseError where it is broken."""
    try:
        return pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise ReleaseError(f"{name}: not a readable Parquet file ({error})", exit_code=1) from error


def row_count(store: Store, key: str) -> int:
    """The number of rows of a stored Parquet file, from its footer. KeyError where none is."""
    with _opened(store, key) as file:
        return int(file.metadata.num_rows)


def read_columns(store: Store, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The named columns (all where None) of a stored Parquet file. KeyError where none is.

    Only their column chunks are fetched.
    """
    with _opened(store, key) as file:
        table = file.read(columns=None if columns is None else list(columns), use_threads=False)
        return table if columns is None else table.select(list(columns))


@contextmanager
def _opened(store: Store, key: str) -> Iterator[pq.ParquetFile]:
    """A stored Parquet file, to be read in this thread alone.

    Arrow's own threads must not hold a Python file: one that lets go of it while the interpreter
    ends aborts the process. So neither pre_buffer nor `pq.read_table`, which use them.
    """
    with store.open(key) as file:
        try:
            yield pq.ParquetFile(file, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            line = f"{store.uri}/{key}: not a readable Parquet file ({error})"
            raise ReleaseError(line, exit_code=1) from error


def sha256(data: bytes) -> str:
    """The digest by which a release names bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()
