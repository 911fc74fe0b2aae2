"""Parquet as a release has it: the same table gives the same bytes; reading fetches ranges, and no
more than a stranger's file may ask of this machine.

A few bytes of Parquet can stand for any number of rows and any length of text: what is repeated is
stored once. So the footer's claims are checked first, then rows are read some at a time, text as a
dictionary (which takes no more room than the file's own pages), and counted before it is unfolded.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.errors import ReleaseError
from manifests.storage.base import Store
from manifests.text import one_line

ROW_GROUP_ROWS = 65_536
MOST_FILE_BYTES = 4 * 2**30  # of a manifest that is read as a whole; a row of ours has some 180
MOST_PART_BYTES = 256 * 2**20
MOST_ROWS = 10_000_000
MOST_BYTES = 4 * 2**30  # of a table in memory; a million rows of ours take some 0.4 GB
# A table may be so many times larger than its file, and ours are some 5 times. On top, for files
# in which little is more than the footer:
MOST_RATIO, FREE_BYTES = 1000, 64 * 2**20
OUR_RATIO = 8  # at which a large file may pass MOST_BYTES: ten million rows in a file of 1.4 GB
BATCH_ROWS = 65_536
_PLAIN = (pa.int64(), pa.int32(), pa.float64(), pa.bool_(), pa.string())

# Of the footer: no string or list in it is longer.
FOOTER_LIMITS = {"thrift_string_size_limit": 16 * 2**20, "thrift_container_size_limit": 200_000}


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


class LimitError(ValueError):
    """More than a file may ask for."""


def read_limited(
    file: pq.ParquetFile, text_as_dictionary: pq.ParquetFile, size: int, columns: Sequence[str]
) -> pa.Table:
    """The named columns of `file`, which has `size` bytes.

    Args:
        text_as_dictionary: the same file, opened with `read_dictionary=text_columns(file)`.

    Raises:
        LimitError: it asks for too much.
    """
    check_claims(file, budget_of(size))
    batches = limited_batches(file, text_as_dictionary, size, columns)
    return pa.Table.from_batches(batches, schema=_schema_of(file, columns))


def budget_of(size: int) -> int:
    """The bytes that a table from a file of `size` bytes may take in memory."""
    return max(min(MOST_BYTES, FREE_BYTES + MOST_RATIO * size), OUR_RATIO * size)


def limited_batches(
    file: pq.ParquetFile,
    text_as_dictionary: pq.ParquetFile,
    size: int,
    columns: Sequence[str],
    row_groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of those row groups (all where None), each batch fetched when it is asked for.

    Raises:
        LimitError: it asks for too much. The footer's claims are not checked here.
    """
    schema, budget, used = _schema_of(file, columns), budget_of(size), 0
    for batch in text_as_dictionary.iter_batches(
        batch_size=BATCH_ROWS, columns=list(columns), row_groups=row_groups, use_threads=False
    ):
        batch.validate(full=True)  # text that is none, indices beyond their dictionary
        arrays = {name: batch.column(name) for name in columns}
        used += sum(_unfolded_bytes(array) for array in arrays.values())
        if used > budget:
            raise LimitError(f"more than {budget:,} bytes when unpacked, of a file of {size:,}")
        plain = [arrays[field.name].cast(field.type) for field in schema]
        yield pa.record_batch(plain, schema=schema)


def _schema_of(file: pq.ParquetFile, columns: Sequence[str]) -> pa.Schema:
    whole = file.schema_arrow  # which Arrow makes anew for each time that it is asked
    return pa.schema([whole.field(name) for name in columns], metadata=whole.metadata)


def check_claims(file: pq.ParquetFile, budget: int | None = None) -> None:
    """Raise LimitError where the footer claims what no manifest has."""
    claims = file.metadata
    if not 0 <= claims.num_rows <= MOST_ROWS:
        raise LimitError(f"{claims.num_rows:,} rows, expected at most {MOST_ROWS:,}")
    for field in file.schema_arrow:
        if field.type not in _PLAIN:
            raise LimitError(f"column {field.name!r} of type {field.type}, as no manifest has")
    if budget is None:
        return
    unpacked = 0
    for group in map(claims.row_group, range(claims.num_row_groups)):
        chunks = map(group.column, range(group.num_columns))
        unpacked += sum(max(0, chunk.total_uncompressed_size) for chunk in chunks)
    if unpacked > budget:
        raise LimitError(f"{unpacked:,} bytes when unpacked, expected at most {budget:,}")


def text_columns(file: pq.ParquetFile) -> list[str]:
    """The columns of text."""
    return [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]


def _unfolded_bytes(array: pa.Array) -> int:
    """The bytes that an array takes, a dictionary once it is unfolded."""
    if not pa.types.is_dictionary(array.type):
        return int(array.nbytes)
    lengths = pc.binary_length(array.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(array.indices)).as_py() or 0) + 4 * len(array)
