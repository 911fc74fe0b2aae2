"""Text tables as people write them: header and rows, trimmed; what is not sure is refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from ldm.errors import LdmError

MOST_BYTES = 2**28
_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons"}
_BLANK = " \t\r\n\u00a0\u2007\u202f\ufeff\u200b"  # no-break and zero-width spaces too


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table of texts.

    Attributes:
        header: the columns' names, trimmed; "" for one without.
        rows: the trimmed cells of each row, as many as the header has.
        lines: where each row stands in the file, from 1.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, name: str) -> list[str]:
        """The cells of the first column of exactly that name."""
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def read_text_table(data: bytes, separators: Sequence[str]) -> TextTable:
    """The table in `data`; blank lines, and rows of empty cells at its end, are left out.

    Args:
        data: UTF-8 or UTF-16 with its mark, any line ends, cells quoted or not.
        separators: those that are taken, the usual one first.

    Raises:
        LdmError: no text, no header, another separator, an open quote, or a row with more cells
            than the header.
    """
    text = _decoded(data)
    first = next((line for line in text.splitlines() if line.strip(_BLANK)), "")
    if not first:
        raise LdmError("No columns: it is empty; expected a header and rows")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_separator(first, separators), strict=True
    )
    found: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            trimmed = [cell.strip(_BLANK) for cell in cells]
            if any("\n" in cell or "\r" in cell for cell in trimmed):
                raise LdmError(f"line {reader.line_num}: a quoted cell goes on over several lines")
            if len(trimmed) > 1 or any(trimmed):
                found.append((reader.line_num, trimmed))
    except csv.Error as error:
        reason = "a quote is never closed" if "end of data" in str(error) else str(error)
        raise LdmError(f"line {reader.line_num}: {reason}") from None
    (_, header), *rest = found
    while rest and not any(rest[-1][1]):
        rest.pop()
    while header and not header[-1]:  # separators at the end of the line
        header = header[:-1]
    rows = [_fitted(cells, len(header), line) for line, cells in rest]
    return TextTable(header=tuple(header), rows=tuple(rows), lines=tuple(line for line, _ in rest))


def _decoded(data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise LdmError(f"{len(data):,} bytes, expected at most {MOST_BYTES:,}")
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise LdmError(f"it is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if "\0" in text:
        raise LdmError("it holds binary data; expected a table as UTF-8 text")
    return text


def _separator(header: str, separators: Sequence[str]) -> str:
    """The separator of a header line."""
    for separator in separators:
        if separator in header.strip(_BLANK):
            return separator
    for other, name in _NAMES.items():
        if other in header:
            raise LdmError(f"it is separated by {name}; expected {_NAMES[separators[0]]}")
    return separators[0]


def _fitted(cells: list[str], width: int, line: int) -> tuple[str, ...]:
    """The cells of a row, filled up or freed of empty ones at its end."""
    if any(cells[width:]):
        raise LdmError(f"line {line} has {len(cells)} cells, the header {width}")
    return tuple(cells[:width] + [""] * (width - len(cells)))
