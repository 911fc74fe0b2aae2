"""The data card of a release as HTML: the little Markdown that its README.md is made of."""

from __future__ import annotations

import html
import re

from manifests.format.evaluation import REPORT_KEY
from manifests.metadata.hub import without_front_matter
from manifests.text import printable

_INLINE = re.compile(
    r"\\(?P<literal>[^\w\s])|(?P<report>\[evaluation/report\.html\]\(evaluation/report\.html\))"
    r"|`(?P<code>[^`]+)`|\*\*(?P<bold>[^*]+)\*\*|(?P<text>[^\\`*\[]+|.)"
)


def card_html(markdown: str) -> str:
    r"""Headings, paragraphs, lists, tables and code; all else is shown as it stands.

    There are no pictures, no links but that to the report of the evaluation, and nothing in the
    text becomes a tag. The head in YAML and the title, `# ...`, are left out: the page has them.

    >>> card_html("# Title\n\n## Use\n\n- a `b` <i>\n- \\*c\\*\n")
    '<h3>Use</h3>\n<ul><li>a <code>b</code> &lt;i&gt;</li><li>*c*</li></ul>'
    """
    text = without_front_matter(printable(markdown.replace("\r\n", "\n")))
    blocks = re.split(r"\n\s*\n", text.strip("\n"))
    return "\n".join(drawn for block in blocks if (drawn := _block(block)))


def _block(block: str) -> str:
    lines = [line for line in block.split("\n") if line.strip()]
    if not lines or lines[0].startswith("# "):
        return ""
    if lines[0].startswith("## ") and len(lines) == 1:
        return f"<h3>{_inline(lines[0][3:])}</h3>"
    if all(line.startswith("    ") for line in lines):
        code = "\n".join(html.escape(line[4:]) for line in lines)
        return f'<pre tabindex="0"><code>{code}</code></pre>'
    if all(line.startswith("- ") for line in lines):
        items = "".join(f"<li>{_inline(line[2:])}</li>" for line in lines)
        return f"<ul>{items}</ul>"
    if len(lines) > 1 and all(line.startswith("|") for line in lines):
        return _table(lines)
    return f"<p>{_inline(' '.join(lines))}</p>"


def _table(lines: list[str]) -> str:
    head, *rows = [_cells(line) for line in lines if not re.fullmatch(r"[|\s:-]+", line)] or [[]]
    top = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="group" aria-label="Table">{table}</div>'


def _cells(line: str) -> list[str]:
    bare = line.strip()
    inner = bare[1:-1] if len(bare) > 1 and bare.endswith("|") else bare[1:]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _inline(text: str) -> str:
    return "".join(_piece(match) for match in _INLINE.finditer(text))


def _piece(match: re.Match[str]) -> str:
    kind = match.lastgroup or "text"
    if kind == "report":
        return f'<a href="{REPORT_KEY}">{REPORT_KEY}</a>'
    shown = html.escape(match[kind])
    return {"code": f"<code>{shown}</code>", "bold": f"<strong>{shown}</strong>"}.get(kind, shown)
