"""How docs/situations.md looks: a table a group, a line a situation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from manifests.text import markdown
from tests import ROOT
from tests.docs.situations.running import Said
from tests.docs.situations.situation import Group, Situation

PAGE = ROOT / "docs" / "situations.md"

_HEAD = """\
# Files and tables as they come, and what `prepare` says

Each line was made as a small BIDS folder and prepared: `python -m tests.docs.situations` makes them
all and writes this page. The brain is the MNI152 template that nilearn ships, at 2 mm (4 mm where a
line is about the table), by itself or in a drawn head; no real scan is among them. A folder has one
participant, or as many as a line says. Each was run as

    brainpress prepare bids --out out --preset tiny --validation 0 --ranges schema

with the options of its line; subjects are prepared in one process rather than by Ray, and scans
that are equal are registered once. *Refused* is exit code 1 or 2 and no cohort. The words are those
of the terminal, but for the lines that every run has: how many were prepared, where the picture is,
and `none of the 1 subjects can be used`, which repeats the reason. Codes before a colon stand in
the column `notes` of `subjects.parquet` too ([which-image.md](which-image.md)).
"""

_TABLE = ["| what there is | options | | what `prepare` says |", "|---|---|---|---|"]


def written(groups: Sequence[Group], said_of: Callable[[Situation], Said]) -> str:
    """The page, as Markdown."""
    parts = [_HEAD]
    for group in groups:
        lines = [line(situation, said_of(situation)) for situation in group.situations]
        parts.append("\n".join([f"## {group.title}", "", group.about, "", *_TABLE, *lines, ""]))
    return "\n".join(parts)


def line(situation: Situation, said: Said) -> str:
    """A situation's line of the table."""
    options = f"`{' '.join(situation.options)}`" if situation.options else ""
    words = "<br>".join(map(markdown, said.lines))
    return f"| {situation.what} | {options} | {said.outcome} | {words} |"
