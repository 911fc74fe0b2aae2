"""What a person at a terminal is shown: a bar, tables, the end of a command; else plain text."""

from __future__ import annotations

import io
import os
import shlex
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from manifests.text import one_line

WIDTH = 88  # characters of a paragraph
INDENT = 13  # before what is said of a fact
MOST_BAR = 40  # characters
_NO_CURSOR = ("dumb", "unknown")


def draws(stream: TextIO) -> bool:
    """Whether `stream` is a terminal on which a line can be drawn over."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in _NO_CURSOR


class Bar:
    """One bar at the foot of a terminal, and lines above it.

    What the process prints to a terminal meanwhile stands above it too.

    Args:
        stream: of the terminal; by default stderr.
        what: is done, the word before the bar.
    """

    def __init__(self, stream: TextIO | None = None, what: str = "") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        def text(shown: str) -> TextColumn:
            whole = Column(no_wrap=True, overflow="ellipsis")
            return TextColumn(shown, markup=False, table_column=whole)

        self._console = Console(file=stream or sys.stderr, highlight=False)
        bar = BarColumn(None, table_column=Column(max_width=MOST_BAR, ratio=1))
        self._drawing = Progress(
            *([text("{task.description}")] if what else []),
            bar,
            text("{task.fields[told]}"),
            console=self._console,
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
            expand=True,  # the bar takes what the text leaves
        )
        self._task: Any = self._drawing.add_task(what, told="")

    def show(self, done: int, total: int, told: str) -> None:
        """Draw it: `done` of `total` of it full, and `told` behind it."""
        self._drawing.update(self._task, completed=done, total=total, told=told)
        if self._drawing.live.is_started:
            self._drawing.refresh()
        else:
            self._drawing.start()

    def say(self, line: str) -> None:
        """A line above it."""
        self._console.print(line, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave it where it is; what comes later stands below."""
        if self._drawing.live.is_started:
            self._drawing.stop()


def facts(told: Mapping[str, str]) -> list[str]:
    """Lines of what is known, each fact behind its name; what is empty is left out."""
    lines: list[str] = []
    for name, text in told.items():
        if text:
            lines += textwrap.wrap(
                text,
                WIDTH,
                initial_indent=f"{name:<{INDENT}}",
                subsequent_indent=" " * INDENT,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> str:
    """Rows below their header, in columns.

    Args:
        right: a letter for each column: r where it is flush right, as numbers are.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, side in zip(header, right.ljust(len(header), "l"), strict=True):
        drawn.add_column(name, justify="right" if side == "r" else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(one_line(cell)) for cell in row))
    text = io.StringIO()
    Console(file=text, width=10_000, no_color=True).print(drawn)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def told_end(made: str, where: Mapping[str, str], *after: Sequence[str]) -> str:
    """How a command ends: what it made, where to look, and the next commands.

    >>> print(told_end("2 samples: out", {"pictures": "out/previews"}, ("info", "my out")))
    2 samples: out
      pictures  out/previews
      next      brainpress info 'my out'
    """
    found = [*where.items(), *(("next", shlex.join(["brainpress", *words])) for words in after[:1])]
    found += [("or", shlex.join(["brainpress", *words])) for words in after[1:]]
    width = max((len(name) for name, _ in found), default=0)
    return "\n".join([made, *(f"  {name:<{width}}  {text}" for name, text in found)])
