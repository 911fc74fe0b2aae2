"""Text of models that may be anybody's: what may be shown, and how a page shows it."""

from __future__ import annotations

import re
import unicodedata

_MARKS = re.compile(r"([\\`*\[\]<>|~$&!#])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def is_text(value: object, *, lines: bool = False) -> bool:
    """Whether `value` is text without control characters; with `lines` it may have several."""
    if not isinstance(value, str):
        return False
    allowed = "\n\t" if lines else ""
    return all(_is_shown(character) or character in allowed for character in value)


def one_line(value: object) -> str:
    """`value` as text on one line, control characters left out."""
    return "".join(filter(_is_shown, " ".join(str(value).split())))


def markdown(value: object) -> str:
    """`value` on one line, as Markdown that shows it and does nothing else."""
    return _MARKS.sub(lambda match: "\\" + match[0], one_line(value))


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") and (
        character not in _TURNS
    )
