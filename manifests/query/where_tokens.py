"""The words of the filter language of `--where`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from manifests.errors import ReleaseError

GRAMMAR = """\
--where is made of
  comparisons   age > 70    sex = 'F'    ventricular_volume <= 40_000    60 <= age < 70
  lists         participant_id in ('sub-000001', 'sub-000007')    index not in (3, 4)
  ranges        age between 60 and 70
  patterns      error like '%empty%'
  nulls         path is null    error is not null
  and, or, not and parentheses. Text stands in quotes; = != < <= > >= compare.
  As in SQL what is null satisfies none of these but `is null`: error != 'x' leaves it out."""

MOST_TEXT = 20_000

TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z0-9_.])
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<symbol><=|>=|<>|!=|==|[=<>(),+-])
    )""",
    re.VERBOSE,
)


class Token(NamedTuple):
    kind: str  # number, text, word, symbol, end
    text: str
    at: int


def scan(text: str) -> Iterator[Token]:
    """The tokens of a filter, and one of kind "end". Raises ReleaseError at what is none."""
    if len(text) > MOST_TEXT:
        raise ReleaseError(f"--where of {len(text):,} characters, expected at most {MOST_TEXT:,}")
    at, end = 0, len(text.rstrip())
    while at < end:
        match = TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise ReleaseError(f"--where {shown(text)}: cannot read {shown(text[at:].lstrip())}")
        yield Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
        at = match.end()
    yield Token("end", "", end)


def shown(text: str) -> str:
    """A filter as an error shows it: in quotes, and not all of a long one."""
    return repr(text) if len(text) <= 300 else f"{text[:300]!r} ..."


def unquote(text: str) -> str:
    """What stands between the quotes."""
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)
