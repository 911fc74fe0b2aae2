"""A release as an entry of a bibliography, for LaTeX."""

from __future__ import annotations

import re
import unicodedata

from manifests.format.document import ReleaseDocument
from manifests.metadata.people import Author, author_of
from manifests.text import one_line

_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
}


def bibtex(document: ReleaseDocument, *, version: str, date: str) -> str:
    """`@misc{...}`, which every style knows; `version` and `date` may be empty.

    Braces keep the title's capitals and an organisation's name whole.
    """
    published = document.published
    authors = [author_of(text) for text in document.authors]
    fields = {
        "author": " and ".join(map(_named, authors)),
        "title": f"{{{_escaped(document.name)}}}",
        "year": date[:4],
        "version": _escaped(version),
        "doi": _address(published.doi or "") if published else "",
        "url": _address(published.page or "") if published else "",
        "note": _escaped(f"Data set of synthetic brain MRI. {document.license}"),
    }
    lines = [f"  {name:<8}= {{{text}}}," for name, text in fields.items() if text]
    return "\n".join([f"@misc{{{_key(document.name, authors, date[:4])},", *lines, "}"])


def _named(author: Author) -> str:
    name = _escaped(author.index_name)
    return f"{{{name}}}" if author.organisation else name


def _key(name: str, authors: list[Author], year: str) -> str:
    """Such as lovelace2026synthetic: letters and digits alone."""
    first = authors[0].family or authors[0].organisation if authors else ""
    words = [_plain(word) for word in name.split()]
    title = next((word for word in words if len(word) > 3), "")
    return f"{_plain(first)[:20]}{year}{title[:20]}" or "release"


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]", "", letters)


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in one_line(text))


def _address(text: str) -> str:
    """An address or a DOI, in which LaTeX takes all but braces and backslashes as they are."""
    return re.sub(r"[{}\\]", "", one_line(text))
