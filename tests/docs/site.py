"""Builds the documentation as a site, with Sphinx: `make docs`.

Pages are written for the repository, where every relative link works. Here they are copied into a
folder with those that lie beside docs/, and links follow them; a link to what the site does not
hold (code, a folder) is left as text. The site's contents are those of docs/index.md. Every
warning is an error, so that a dead link or anchor ends the build.
"""

from __future__ import annotations

import io
import posixpath
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from tests import ROOT

DOCS = ROOT / "docs"
START = "index.md"
# Pages outside docs/, by their place in the repository and in the site.
BESIDE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "infra/README.md",
    "tests/faults/README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("ldm/models/*/README.md")),
)
# Of a page, and with a mark of a picture.
LINK = re.compile(r"(?P<mark>!?)\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]+)\)")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## (?P<title>.*)\n(?P<text>(?:(?!^## ).*\n?)*)", re.MULTILINE)
SETTINGS: dict[str, Any] = {
    "project": "brainpress",
    "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
    "extensions": ["myst_nb"],
    "html_theme": "furo",
    "html_title": "brainpress",
    "html_show_sphinx": False,
    "html_copy_source": False,
    "nb_execution_mode": "off",  # they carry their outputs; tests.docs.notebooks runs them
    "nb_merge_streams": True,
    "myst_heading_anchors": 6,  # as GitHub names them
    "myst_links_external_new_tab": False,
    # What the repository's pages do and is no fault: headings that begin below the first level,
    # a console's output that no lexer knows.
    "suppress_warnings": ["myst.header", "misc.highlighting_failure"],
}


def site_pages() -> dict[str, Path]:
    """The pages of the site: where each lies in it, and in the repository."""
    own = (path for kind in ("*.md", "*.ipynb") for path in sorted(DOCS.rglob(kind)))
    beside = {page: ROOT / page for page in BESIDE}
    return {path.relative_to(DOCS).as_posix(): path for path in own} | beside


def build(out: Path, pages: dict[str, Path] | None = None) -> list[str]:
    """Build the site into a folder; what is wrong with it, a line each."""
    pages = pages or site_pages()
    warnings = io.StringIO()
    with tempfile.TemporaryDirectory() as name:
        source = Path(name).resolve() / "pages"
        shutil.copytree(DOCS, source)
        for place, path in pages.items():
            (source / place).parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".md":
                (source / place).write_text(rewritten(path.read_text(), place, set(pages)))
        start = source / START
        start.write_text(start.read_text() + "\n" + contents(start.read_text()))
        Sphinx(
            str(source),
            None,
            str(out),
            str(Path(name) / "doctrees"),
            "html",
            confoverrides=SETTINGS,
            status=None,
            warning=warnings,
        ).build(force_all=True)
        text = re.sub(r"\x1b\[[0-9;]*m", "", warnings.getvalue())
    return [line.replace(f"{source}/", "") for line in text.splitlines() if line.strip()]


def rewritten(markdown: str, page: str, pages: set[str]) -> str:
    """A page of the site, its links those of the site; blocks of code stay."""
    parts = FENCED.split(markdown)
    parts[::2] = [LINK.sub(lambda link: _link(link, page, pages), part) for part in parts[::2]]
    return "".join(parts)


def _link(link: re.Match[str], page: str, pages: set[str]) -> str:
    path, hash_sign, anchor = link["target"].partition("#")
    if not path or ":" in path:
        return link[0]
    here = page if page in BESIDE else f"docs/{page}"
    there = posixpath.normpath(posixpath.join(posixpath.dirname(here), path))
    place = there.removeprefix("docs/")
    if place == there and place not in pages and (ROOT / there).exists():
        return link["text"]
    relative = posixpath.relpath(place, posixpath.dirname(page) or ".")
    return f"{link['mark']}[{link['text']}]({relative}{hash_sign}{anchor})"


def contents(start: str) -> str:
    """The sections of the first page with the pages each links to, as Sphinx's contents."""
    found = []
    for section in SECTION.finditer(start):
        linked = dict.fromkeys(link["target"] for link in LINK.finditer(section["text"]))
        names = [re.sub(r"\.(md|ipynb)$", "", name) for name in linked if name != START]
        head = ["```{toctree}", ":hidden:", f":caption: {section['title']}", ""]
        found.append("\n".join([*head, *names, "```"]))
    return "\n\n".join(found) + "\n"


def main(words: list[str]) -> None:
    out = Path(words[0]) if words else ROOT / "site"
    if wrong := build(out):
        raise SystemExit("\n".join(wrong))
    print(out / "index.html")


if __name__ == "__main__":
    main(sys.argv[1:])
