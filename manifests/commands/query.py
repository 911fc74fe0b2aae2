"""Rows of a release's manifest that match a filter, as a table, CSV, JSON or Parquet."""

from __future__ import annotations

import argparse
import io
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.commands.shared import add_release, count, names
from manifests.errors import ReleaseError
from manifests.text import json_text, one_line, printable

if TYPE_CHECKING:
    import pyarrow as pa

    from manifests.query import Release

FORMATS = ("table", "csv", "json", "parquet")
TABLE_ROWS = 20
EXAMPLES = """\
examples:
  brainpress query s3://bucket/release --where "age > 70 and sex = 'F'"
  brainpress query RELEASE --where "extrapolated" --columns participant_id,age --format csv
  brainpress query RELEASE --format parquet --out rows.parquet

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from manifests.where_tokens import GRAMMAR

    add_release(parser)
    parser.add_argument("--where", metavar="FILTER", help="only rows that satisfy it; see below")
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
    parser.epilog = EXAMPLES + GRAMMAR


def run(args: argparse.Namespace) -> int:
    from manifests.query import Release

    release = Release.open(args.release)
    to_terminal = args.out is None and sys.stdout.isatty()
    if args.format == "parquet" and to_terminal:
        raise ReleaseError("Parquet is not for a terminal: add --out FILE")
    columns = args.columns
    if columns is None and args.format == "table":
        columns = _brief_columns(release)
    table = release.query(args.where, columns=columns)
    limit = TABLE_ROWS if args.limit is None and args.format == "table" else args.limit
    shown = table.slice(0, limit) if limit else table
    data = _bytes(shown, args.format)
    _write(printable(data.decode()).encode() if to_terminal else data, args.out)
    left = (
        f", {shown.num_rows:,} shown (--limit 0 shows all)" if shown.num_rows < len(table) else ""
    )
    total = release.about["counts"]["samples"]
    print(f"{table.num_rows:,} of {total:,} rows match{left}", file=sys.stderr)
    return 0


def _brief_columns(release: Release) -> list[str]:
    """What a person wants to see of a row first."""
    covariates = [column.name for column in release.document.columns]
    asked = [*covariates, "extrapolated"] if covariates else []
    status = ["status"] if release.about["counts"]["failed"] else []
    return ["participant_id", *asked, *status, "path"]


def _bytes(table: pa.Table, form: str) -> bytes:
    if form == "parquet":
        from manifests.parquet import parquet_bytes

        return parquet_bytes(table)
    if form == "csv":
        from pyarrow import csv

        sink = io.BytesIO()
        csv.write_csv(table, sink, csv.WriteOptions(quoting_style="needed"))
        return sink.getvalue()
    if form == "json":
        lines = [json_text(json.dumps(row, ensure_ascii=False)) for row in table.to_pylist()]
        return ("[" + ",\n ".join(lines) + "]\n").encode()
    return text_table(table).encode()


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
    return kind.startswith(("int", "float", "double"))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, float) else one_line(value)


def _number(value: float) -> str:
    return f"{value:.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:.6g}"
