"""Rows of a release's manifest that match a filter, or the result of SQL over it.

As a table, CSV, JSON or Parquet.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.commands.shared import (
    add_expect,
    add_filter,
    add_release,
    add_version,
    count,
    names,
    place_of,
    reads_whole,
)
from manifests.errors import ReleaseError
from manifests.text import json_text, one_line, printable

if TYPE_CHECKING:
    import pyarrow as pa

    from manifests.query.release import Release

FORMATS = ("table", "csv", "json", "parquet")
TABLE_ROWS = 20
EXAMPLES = """\
examples:
  brainpress query s3://bucket/release --where "age > 70 and sex = 'F'"
  brainpress query s3://bucket/release \
      "SELECT sex, count(*), avg(ventricular_volume) FROM manifest GROUP BY sex"
  brainpress query RELEASE \
      "SELECT m.age, x.measured_age FROM manifest m JOIN measured x USING (index)"
  brainpress query RELEASE --where "volume_left_hippocampus > 4000"
  brainpress query RELEASE --where "extrapolated" --columns participant_id,age --format csv
  brainpress query RELEASE --format parquet --out rows.parquet

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_release(parser)
    add_expect(parser)
    add_version(parser)
    parser.add_argument(
        "sql",
        metavar="SQL",
        nargs="?",
        help="a SELECT over the table `manifest`, `measured` of an evaluated release and `regions`"
        " of a segmented one (DuckDB), instead of --where and --columns",
    )
    add_filter(parser, "rows", EXAMPLES)
    parser.add_argument(
        "--columns", type=names, metavar="A,B", help="only these columns (`info` lists them)"
    )
    parser.add_argument(
        "--limit",
        type=count,
        metavar="N",
        help=f"at most N rows, 0 for all (default: {TABLE_ROWS} in a table, else all)",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to FILE and not to stdout")


@reads_whole
def run(args: argparse.Namespace) -> int:
    from manifests.query.release import Release

    if args.sql is not None and (args.where is not None or args.columns is not None):
        raise ReleaseError(
            "SQL has its own WHERE and its own columns: leave out --where, --columns"
        )
    release = Release.at(place_of(args), version=args.release_version, expect=args.expect)
    to_terminal = args.out is None and sys.stdout.isatty()
    if args.format == "parquet" and to_terminal:
        raise ReleaseError("Parquet is not for a terminal: add --out FILE")
    limit = TABLE_ROWS if args.limit is None and args.format == "table" else args.limit or None
    if args.sql is None:
        shown, told = _by_filter(release, args, limit)
    else:
        shown, told = _by_sql(release, args.sql, limit)
    data = _bytes(shown, args.format)
    _write(printable(data.decode()).encode() if to_terminal else data, args.out)
    print(told, file=sys.stderr)
    return 0


def _by_filter(
    release: Release, args: argparse.Namespace, limit: int | None
) -> tuple[pa.Table, str]:
    """The rows to show, and a line about them."""
    columns, total = args.columns, release.about["counts"]["samples"]
    if columns is None and args.format == "table":
        columns = _brief_columns(release)
    if args.where is None:  # all match, and the others need not be fetched
        shown, matching = release.query(columns=columns, limit=limit), total
    else:
        table = release.query(args.where, columns=columns)
        shown, matching = table.slice(0, limit), table.num_rows
    return shown, f"{matching:,} of {total:,} rows match{_left(shown, shown.num_rows < matching)}"


def _by_sql(release: Release, text: str, limit: int | None) -> tuple[pa.Table, str]:
    """The result to show, and a line about it; of a longer one the rest is not computed."""
    table = release.sql(text, limit=limit and limit + 1)
    shown = table.slice(0, limit)
    if more := shown.num_rows < table.num_rows:
        return shown, f"more than {shown.num_rows:,} rows{_left(shown, more)}"
    return shown, f"{shown.num_rows:,} {'row' if shown.num_rows == 1 else 'rows'}"


def _left(shown: pa.Table, more: bool) -> str:
    return f", {shown.num_rows:,} shown (--limit 0 shows all)" if more else ""


def _brief_columns(release: Release) -> list[str]:
    """What a person wants to see of a row first."""
    covariates = [column.name for column in release.document.columns]
    asked = [*covariates, "extrapolated"] if covariates else []
    status = ["status"] if release.about["counts"]["failed"] else []
    return ["participant_id", *asked, *status, "path"]


def _bytes(table: pa.Table, form: str) -> bytes:
    if form == "parquet":
        from manifests.format.parquet import parquet_bytes

        return parquet_bytes(table)
    if form == "csv":
        from pyarrow import csv

        sink = io.BytesIO()
        csv.write_csv(_flat(table), sink, csv.WriteOptions(quoting_style="needed"))
        return sink.getvalue()
    if form == "json":
        lines = [_json(row) for row in table.to_pylist()]
        return ("[" + ",\n ".join(lines) + "]\n").encode()
    return text_table(table).encode()


def _flat(table: pa.Table) -> pa.Table:
    """Lists and records, which SQL can make, as JSON text: CSV has no cells for them."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if value is None else _json(value) for value in table[place].to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _json(value: Any) -> str:
    """JSON text; a number that JSON has not is null, a date is text."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, default=str)
    return json_text(text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(data: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    side = out.with_name(f".{out.name}.partial")
    try:
        side.write_bytes(data)
        side.replace(out)
    except OSError as error:
        with suppress(OSError):
            side.unlink()
        raise ReleaseError(f"cannot write {out}: {error.strerror}") from error


def text_table(table: pa.Table) -> str:
    """A table for people: numbers to the right, six digits."""
    columns = [[name, *map(_cell, table[name].to_pylist())] for name in table.column_names]
    right = [_is_number(table, name) for name in table.column_names]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, right, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def _is_number(table: pa.Table, name: str) -> bool:
    kind = str(table.schema.field(name).type)
    return kind.startswith(("int", "uint", "float", "double"))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, float) else one_line(value)


def _number(value: float) -> str:
    return f"{value:.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:.6g}"
