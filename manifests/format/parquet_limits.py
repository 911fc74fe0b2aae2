"""What a Parquet file of a stranger may ask of this machine, judged before and while it is read.

A few bytes of Parquet can stand for any number of rows and any length of text: what is repeated is
stored once. So the footer's claims are checked first, then rows are read some at a time, text as a
dictionary (which takes no more room than the file's own pages), and counted before it is unfolded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

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
