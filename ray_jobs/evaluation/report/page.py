"""A report as Markdown and as one HTML file: headings, paragraphs, tables, pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

from ldm.untrusted import markdown
from manifests.page.style import base_css


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
body { font-family: var(--sans); font-size: 1rem; }
header { padding-top: clamp(1.2rem, 3.5vw, 2.6rem); }
header .kicker { margin-bottom: 0.5rem; }
main { padding-bottom: 3rem; }
main > p { max-width: 46rem; }
h1, h2, h3 { font-family: var(--serif); }
h2 { margin: 3rem 0 0.8rem; padding-top: 0.6rem; border-top: 1px solid var(--ink); }
nav { margin: 0 0 1.6rem; padding-block: 0.7rem; border-block: 1px solid var(--rule); }
.scroll { margin: 1rem 0; }
.scroll table { min-width: min(100%, 30rem); }
th, td { border-bottom: 1px solid var(--rule); overflow-wrap: normal; min-width: 5rem; }
thead th, thead td { border-color: var(--ink); color: var(--quiet); vertical-align: bottom; }
figure { margin: 1.4rem 0; }
figure img { display: block; max-width: 100%; background: #fff; border-radius: 6px; }
figcaption { margin-top: 0.4rem; max-width: 46rem; }
@media (prefers-color-scheme: dark) { img { filter: brightness(0.92); } }
"""
PAGE = "../index.html"  # of a release, from the report that it carries


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


def to_html(blocks: Sequence[Block], title: str, *, page: str | None = None) -> str:
    """The report as one file, its pictures within, in the look of a release's page.

    Args:
        page: the address of the release's page, where the report lies beside one.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    back = f' · <a href="{html.escape(page)}">to the release</a>' if page else ""
    top = [block for block in blocks if isinstance(block, Heading) and block.level == 1]
    parts = [_html(block, place) for place, block in enumerate(blocks) if block not in top]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title><style>{base_css()}{STYLE}</style></head><body>\n"
        f'<header class="wide"><p class="kicker">Evaluation report{back}</p>\n'
        + "".join(f"<h1>{html.escape(block.text)}</h1>\n" for block in top)
        + _contents(blocks)
        + '</header>\n<main class="wide">\n'
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _contents(blocks: Sequence[Block]) -> str:
    """Links to the chapters, where there are several."""
    links = [
        f'<a href="#part-{place}">{html.escape(block.text)}</a>'
        for place, block in enumerate(blocks)
        if isinstance(block, Heading) and block.level == 2
    ]
    return f'<nav aria-label="Contents">{" ".join(links)}</nav>\n' if len(links) > 1 else ""


def _html(block: Block, place: int) -> str:
    match block:
        case Heading(text, level):
            return f'<h{level} id="part-{place}">{html.escape(text)}</h{level}>'
        case Text(text):
            return f"<p>{html.escape(text)}</p>"
        case Table(rows, _):
            return _table(rows, place)
        case Picture(_, png, caption, _):
            data = base64.b64encode(png).decode()
            shown = html.escape(caption)
            return (
                f'<figure><img alt="{shown}" src="data:image/png;base64,{data}">'
                f"<figcaption>{shown}</figcaption></figure>"
            )


def _table(rows: Sequence[Sequence[str]], place: int) -> str:
    head, *body = rows
    top = "".join(_head_cell(cell) for cell in head)
    lines = [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    ]
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table {place}"><table>'
        f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _head_cell(text: str) -> str:
    return f'<th scope="col">{html.escape(text)}</th>' if text else "<td></td>"
