"""A report as Markdown and as one HTML file: headings, paragraphs, tables, pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

from ldm.untrusted import markdown


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells as text, the first row the header.

    Attributes:
        names_people: whether it says who of the cohort something is about: not for everyone.
    """

    rows: Sequence[Sequence[str]]
    names_people: bool = False


@dataclass(frozen=True)
class Picture:
    """A PNG beside the report, and what it shows.

    Attributes:
        shows: the participant_ids of the release's samples whose images are in it.
    """

    name: str
    png: bytes
    caption: str
    shows: tuple[str, ...] = ()


Block = Heading | Text | Table | Picture

STYLE = """
:root { color-scheme: light dark; --ink: #22262b; --soft: #667; --line: #8884; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e9ea; --soft: #a0a6ad; --page: #14171b; }
  img { filter: brightness(0.92); }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 62rem; margin: 3rem auto; padding: 0 1.2rem; }
h1 { font-weight: 600; letter-spacing: -0.01em; } h2 { margin-top: 2.6rem; font-weight: 600; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.92rem; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: 0.3rem 0.9rem 0.3rem 0; border-bottom: 1px solid var(--line); }
figure { margin: 1.4rem 0; } figure img { max-width: 100%; background: #fff; border-radius: 4px; }
figcaption { color: var(--soft); font-size: 0.88rem; }
"""


def to_markdown(blocks: Sequence[Block]) -> str:
    """The report for a repository; its pictures lie beside it."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text, level):
                parts.append(f"{'#' * level} {markdown(text)}")
            case Text(text):
                parts.append(markdown(text))
            case Table(rows, _):
                lines = ["| " + " | ".join(markdown(cell) for cell in row) + " |" for row in rows]
                lines.insert(1, "|---" * len(rows[0]) + "|")
                parts.append("\n".join(lines))
            case Picture(name, _, caption, _):
                parts.append(f"![{markdown(caption)}]({name})\n\n{markdown(caption)}")
    return "\n\n".join(parts) + "\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """The report as one file, its pictures within."""
    parts = [_html(block) for block in blocks]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{html.escape(text)}</p>"
        case Table(rows, _):
            head, *body = rows
            lines = ["<tr>" + "".join(f"<th>{html.escape(c)}</th>" for c in head) + "</tr>"]
            lines += ["<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in r) + "</tr>"
                      for r in body]  # fmt: skip
            return f'<div class="table"><table>{"".join(lines)}</table></div>'
        case Picture(_, png, caption, _):
            data = base64.b64encode(png).decode()
            shown = html.escape(caption)
            return (
                f'<figure><img alt="{shown}" src="data:image/png;base64,{data}">'
                f"<figcaption>{shown}</figcaption></figure>"
            )
