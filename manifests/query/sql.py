"""SQL over a release's tables: DuckDB, shut off from all but their rows, fetched as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from manifests.errors import ReleaseError
from manifests.query.rows import Pushed, StoredRows
from manifests.text import one_line

if TYPE_CHECKING:
    import duckdb

# Columns of a table, and its rows, opened when a query comes to them.
Source = tuple[pa.Schema, Callable[[], StoredRows]]
MEMORY = "2GiB"  # of DuckDB; what it has no room for it does not write to the disk
MOST_RESULT_BYTES = 4 * 2**30
BATCH_ROWS = 65_536
LARGEST = 2**63 - 1  # of an int64 column

# No file but ours, no network, no extension, no variable of this program; one thread, so that the
# same query gives the same sums and rows in the same order, and reads in the caller's thread.
LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "memory_limit": MEMORY,
    "threads": "1",
}


def run_sql(tables: Mapping[str, Source], text: str, *, limit: int | None = None) -> pa.Table:
    """The result of one SELECT over these tables, by name, at most `limit` rows of it.

    Raises:
        ReleaseError: SQL that DuckDB does not understand, that does more than read, or that looks
            at anything but these tables; a result that is too large (exit code 1).
    """
    import duckdb

    sources = {name: _Rows(*source) for name, source in tables.items()}
    connection = connected()
    try:
        for name, source in sources.items():
            connection.register(name, source)
        _check_reads(connection, text)
        size = BATCH_ROWS if limit is None else min(max(limit, 1), BATCH_ROWS)
        reader = connection.sql(text).to_arrow_reader(size)
        return _plain(_collected(reader, limit))
    except (duckdb.Error, pa.ArrowException, RuntimeError) as error:
        for source in sources.values():
            if source.failure is not None:
                raise source.failure from None
        raise _told(error, {name: schema for name, (schema, _) in tables.items()}) from None
    finally:
        connection.close()


def connected() -> duckdb.DuckDBPyConnection:
    """A DuckDB that is shut off from all but what is registered with it."""
    import duckdb

    connection = duckdb.connect(config=LOCKED)
    connection.execute("SET lock_configuration = true")
    return connection


class _Rows(ds.InMemoryDataset):
    """What DuckDB takes for an Arrow dataset: it is asked for columns and a filter, and reads on.

    Attributes:
        failure: what went wrong in reading, which DuckDB would tell in its own words.
    """

    def __init__(self, schema: pa.Schema, opened: Callable[[], StoredRows]) -> None:
        super().__init__(schema.remove_metadata().empty_table())
        self._open = opened
        self._opened: StoredRows | None = None
        self.failure: BaseException | None = None

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,
        **_: Any,
    ) -> _Scan:
        """What DuckDB calls for each time that the query mentions the table."""
        names = self.schema.names if columns is None else list(columns)
        schema = pa.schema([self.schema.field(name) for name in names])
        return _Scan(pa.RecordBatchReader.from_batches(schema, self._batches(schema, filter)))

    def _batches(self, schema: pa.Schema, where: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        try:
            self._opened = rows = self._opened or self._open()
            pushed = None if where is None else Pushed(where, rows.schema)
            for batch in rows.batches(schema.names, pushed):
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error
            raise


class _Scan:
    """As much of an Arrow scanner as DuckDB uses."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader

    def to_reader(self) -> pa.RecordBatchReader:
        return self._reader


def _check_reads(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """Raise unless the text is one statement, and one that reads."""
    import duckdb

    kinds = [statement.type for statement in connection.extract_statements(text)]
    if len(kinds) != 1:
        raise ReleaseError(f"SQL of {len(kinds)} statements: expected one SELECT")
    if kinds[0] != duckdb.StatementType.SELECT:
        raise ReleaseError(f"SQL: {kinds[0].name} is not for a manifest, expected a SELECT")


def _collected(reader: pa.RecordBatchReader, limit: int | None) -> pa.Table:
    """The first rows of a result; the rest is not computed."""
    batches, count, size = [], 0, 0
    while limit is None or count < limit:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            break
        batches.append(batch)
        count += batch.num_rows
        size += batch.nbytes
        if size > MOST_RESULT_BYTES:
            line = f"the result takes more than {MOST_RESULT_BYTES:,} bytes: ask for less of it"
            raise ReleaseError(line, exit_code=1)
    table = pa.Table.from_batches(batches, schema=reader.schema)
    return table if limit is None else table.slice(0, limit)


def _plain(table: pa.Table) -> pa.Table:
    """Numbers as int64 or double, not as decimals of 38 digits; each column a name of its own."""
    names: list[str] = []
    for name in table.column_names:
        count = 1
        unique = name
        while unique in names:
            count += 1
            unique = f"{name}_{count}"
        names.append(unique)
    table = table.rename_columns(names)
    for place, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(place, field.name, _number(table.column(place)))
    return table


def _number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.type.scale == 0:
        ends = pc.min_max(column).as_py()
        if ends["max"] is None or max(abs(ends["min"]), abs(ends["max"])) <= LARGEST:
            return column.cast(pa.int64())
    return column.cast(pa.float64())


def _told(error: Exception, tables: Mapping[str, pa.Schema]) -> ReleaseError:
    """DuckDB's error as one line that says what to do."""
    import duckdb

    text = str(error).partition("\n\nLINE ")[0]
    kind, _, rest = text.partition(" Error: ")
    reason = one_line(rest if rest and len(kind) < 30 else text)[:400]
    if isinstance(error, duckdb.PermissionException):
        return ReleaseError("SQL reads the manifest alone: no other file, address or extension")
    if isinstance(error, duckdb.OutOfMemoryException):
        return ReleaseError(f"SQL that needs more than {MEMORY} of memory: ask for less", 1)
    if isinstance(error, duckdb.CatalogException) and "Table with name" in reason:
        reason = reason.partition(" Did you mean")[0].rstrip("!")
        names = " and ".join(tables)
        told = f"the only table is {names}" if len(tables) == 1 else f"the tables are {names}"
        return ReleaseError(f"SQL: {reason}; {told}")
    if isinstance(error, duckdb.BinderException):
        columns = [f"the columns of {n} are {', '.join(s.names)}" for n, s in tables.items()]
        return ReleaseError(f"SQL: {reason}; {'; '.join(columns)}")
    return ReleaseError(f"SQL: {reason}")
