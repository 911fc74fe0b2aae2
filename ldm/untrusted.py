"""What models that may be anybody's say: bounded JSON, bounded sizes, text that only shows."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from ldm.errors import LdmError

# Of a JSON document, and of a network's config.
MOST_BYTES = 16 * 2**20
MOST_VALUES = 1_000_000
DEEPEST = 40
MOST_CHANNELS, MOST_LEVELS, MOST_BLOCKS, MOST_PATCH = 16_384, 12, 64, 32
MOST_STEPS = 1_000_000  # of a diffusion process, in training or in sampling

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


def first_line(error: Exception) -> str:
    """What an error says first; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`.

    Raises:
        ValueError: not JSON, no object, larger or deeper than a model's documents are, or text
            that no encoding can write.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"{len(data):,} bytes, expected at most {MOST_BYTES:,}")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    _check_depth(document, DEEPEST)
    return document


def _check_depth(value: Any, depth: int) -> None:
    if not depth:
        raise ValueError(f"nested more than {DEEPEST} deep")
    if isinstance(value, str):
        value.encode()  # not half of a surrogate pair
    elif isinstance(value, dict):
        for name, item in value.items():
            name.encode()
            _check_depth(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, depth - 1)


def check_whole(what: str, least: int, most: int, **numbers: object) -> None:
    """Raise unless each is a whole number, or a list of some, from `least` to `most`.

    Raises:
        LdmError: the first that is not.
    """
    for name, value in numbers.items():
        members = value if isinstance(value, (list, tuple)) else (value,)
        if len(members) > MOST_LEVELS:
            raise LdmError(f"{what} {name}: {len(members)} levels, expected at most {MOST_LEVELS}")
        for number in members:
            whole = isinstance(number, int) and not isinstance(number, bool)
            if not whole or not least <= number <= most:
                found = f"{number!a:.40}"
                raise LdmError(f"{what} {name} {found}: expected a whole number {least} to {most}")
