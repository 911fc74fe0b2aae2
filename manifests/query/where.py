"""The filter language of `--where`: what of SQL it takes, and the one line for what it does not.

A filter such as "age > 70 and sex = 'F'" is checked against the columns and said again in plain
SQL, of nothing but quoted columns, values and operators, which `manifests.query.filter` has DuckDB
evaluate.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import pyarrow as pa

from manifests.errors import ReleaseError
from manifests.format.schema import FAILED, OK, WITHDRAWN, Column, columns_of
from manifests.query.where_tokens import Token, scan, shown, unquote

MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
COMPARE = ("=", "==", "!=", "<>", *MIRRORED)
KEYWORDS = {"and", "or", "not", "in", "between", "like", "is", "null", "true", "false"}
DEEPEST = 50


@dataclass(frozen=True)
class Condition:
    """A filter that was understood.

    Attributes:
        sql: of nothing but quoted columns, values and operators.
        columns: that it looks at, in the order of their first mention.
        ends: values that a column of doubles has at least (>=) or at most (<=) in every row that
            satisfies it.
    """

    sql: str
    columns: tuple[str, ...]
    ends: tuple[tuple[str, str, float], ...] = ()


def parse_where(text: str, schema: pa.Schema) -> Condition:
    """A filter over a manifest with this schema.

    Raises:
        ReleaseError: what cannot be understood and where; an unknown column, with the closest
            one; a value that can never match, such as an unknown level.
    """
    return _Parser(text, schema).parse()


def find_column(name: str, schema: pa.Schema) -> str:
    """The column of that name, in whatever case it is written.

    Raises:
        ReleaseError: none, with the closest match.
    """
    names = {known.lower(): known for known in schema.names}
    if name.lower() in names:
        return names[name.lower()]
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {names[close[0]]}?" if close else f"there are {', '.join(schema.names)}"
    raise ReleaseError(f"unknown column {name!r}; {hint}")


@dataclass
class _Parser:
    """Recursive descent, one method for each rule of the grammar."""

    text: str
    schema: pa.Schema

    def __post_init__(self) -> None:
        self.tokens = list(scan(self.text))
        self.position = 0
        self.depth = 0
        self.used: list[str] = []
        self.ends: list[tuple[str, str, float]] = []
        columns, _ = columns_of(self.schema)
        self.columns: dict[str, Column] = {column.name: column for column in columns}

    def parse(self) -> Condition:
        sql = self._or()
        if self.next.kind != "end":
            self._fail("expected 'and', 'or' or the end")
        return Condition(sql, tuple(dict.fromkeys(self.used)), tuple(self.ends))

    def _or(self) -> str:
        known = len(self.ends)
        terms = [self._and()]
        while self._take("or"):
            terms.append(self._and())
        if len(terms) > 1:
            del self.ends[known:]
        return " OR ".join(terms)

    def _and(self) -> str:
        terms = [self._not()]
        while self._take("and"):
            terms.append(self._not())
        return " AND ".join(terms)

    def _not(self) -> str:
        self.depth += 1
        if self.depth > DEEPEST:
            self._fail(f"nested more than {DEEPEST} deep")
        try:
            if self._take("not"):
                known = len(self.ends)
                sql = f"NOT {self._not()}"
                del self.ends[known:]
                return sql
            if self._take("("):
                inside = self._or()
                self._need(")")
                return f"({inside})"
            return self._predicate()
        finally:
            self.depth -= 1

    def _predicate(self) -> str:
        if self.next.kind in ("number", "text") or self.next.text in ("-", "+"):
            return self._value_first()
        name = self._column()
        if self._take("is"):
            negated = " NOT" if self._take("not") else ""
            self._need("null")
            return f"{quoted(name)} IS{negated} NULL"
        negated = " NOT" if self._take("not") else ""
        if self._take("in"):
            return f"{quoted(name)}{negated} IN {self._list(name)}"
        if self._take("between"):
            low = self._value(name, ordered=True)
            self._need("and")
            high = self._value(name, ordered=True)
            if not negated:
                self._note_end(name, ">=", low)
                self._note_end(name, "<=", high)
            return f"{quoted(name)}{negated} BETWEEN {low} AND {high}"
        if self._take("like"):
            return f"{quoted(name)}{negated} LIKE {self._pattern(name)}"
        if negated:
            self._fail("expected 'in', 'between' or 'like' after 'not'")
        if self.next.text in COMPARE:
            return f"{quoted(name)} {self._comparison(name)}"
        if not pa.types.is_boolean(self._type(name)):
            self._fail(f"expected a comparison such as = or < after {name}")
        return quoted(name)

    def _comparison(self, name: str) -> str:
        """From the symbol on, of a comparison that a column begins."""
        symbol = self._advance().text
        if self._is_column():
            other = self._column()
            if self._is_text(name) != self._is_text(other):
                self._fail(f"{name} and {other} cannot be compared: one is text, one is a number")
            return f"{symbol} {quoted(other)}"
        value = self._value(name, ordered=symbol in MIRRORED)
        self._note_end(name, symbol, value)
        return f"{symbol} {value}"

    def _value_first(self) -> str:
        """`70 < age`, and `60 <= age < 70`."""
        start = self.position
        while self.next.kind in ("number", "text") or self.next.text in ("-", "+"):
            self._advance()
        symbol = self.next.text
        if symbol not in COMPARE:
            self._fail("expected a comparison such as = or <")
        self._advance()
        name = self._column()
        after, self.position = self.position, start
        value = self._value(name, ordered=symbol in MIRRORED)
        self.position = after
        self._note_end(name, MIRRORED.get(symbol, symbol), value)
        sql = f"{value} {symbol} {quoted(name)}"
        if self.next.text in COMPARE:
            sql = f"({sql} AND {quoted(name)} {self._comparison(name)})"
        return sql

    def _list(self, name: str) -> str:
        self._need("(")
        values = [self._value(name)]
        while self._take(","):
            values.append(self._value(name))
        self._need(")")
        return f"({', '.join(values)})"

    def _pattern(self, name: str) -> str:
        if not self._is_text(name):
            self._fail(f"'like' needs text, and {name} holds {self._type(name)}")
        if self.next.kind != "text":
            self._fail("expected a pattern in quotes after 'like'")
        return text_literal(unquote(self._advance().text))

    def _value(self, name: str, *, ordered: bool = False) -> str:
        """A literal that fits the column, as SQL."""
        token = self.next
        kind = self._type(name)
        if pa.types.is_boolean(kind):
            if token.text.lower() in ("true", "false") and not ordered:
                return self._advance().text.lower()
            self._fail(f"{name} is true or false")
        if self._is_text(name):
            if token.kind != "text":
                quoted = f"{name} = '{token.text}'" if token.kind in ("word", "number") else "'...'"
                self._fail(f"{name} is text: put it in quotes, {quoted}")
            value = unquote(self._advance().text)
            self._check_level(name, value)
            return text_literal(value)
        sign = "-" if token.text == "-" else ""
        if token.text in ("-", "+"):
            token = (self._advance(), self.next)[1]
        if token.kind != "number":
            self._fail(f"{name} is a number; expected one")
        digits = self._advance().text.replace("_", "")
        return f"{sign}{digits}" if math.isfinite(float(digits)) else f"'{sign}inf'::DOUBLE"

    def _note_end(self, name: str, symbol: str, value: str) -> None:
        if symbol in MIRRORED and pa.types.is_float64(self._type(name)):
            with suppress(ValueError):  # beyond a double
                self.ends.append((name, f"{symbol[0]}=", float(value)))

    def _check_level(self, name: str, value: str) -> None:
        levels: Sequence[str] = self.columns[name].levels if name in self.columns else ()
        if name == "status":
            levels = (OK, FAILED, WITHDRAWN)
        if levels and value not in levels:
            self.position -= 1
            self._fail(f"{name} is one of {', '.join(map(repr, levels))}")

    def _column(self) -> str:
        if self.next.kind != "word" or self.next.text.lower() in KEYWORDS:
            self._fail("expected a column")
        name = find_column(self._advance().text, self.schema)
        self.used.append(name)
        return name

    def _is_column(self) -> bool:
        names = {name.lower() for name in self.schema.names}
        return self.next.kind == "word" and self.next.text.lower() in names

    def _type(self, name: str) -> pa.DataType:
        return self.schema.field(name).type

    def _is_text(self, name: str) -> bool:
        return bool(pa.types.is_string(self._type(name)))

    @property
    def next(self) -> Token:
        return self.tokens[self.position]

    def _advance(self) -> Token:
        self.position += 1
        return self.tokens[self.position - 1]

    def _take(self, word: str) -> bool:
        found = self.next.kind in ("word", "symbol") and self.next.text.lower() == word
        self.position += found
        return found

    def _need(self, word: str) -> None:
        if not self._take(word):
            self._fail(f"expected {word!r}")

    def _fail(self, what: str) -> NoReturn:
        token = self.next
        place = "at the end" if token.kind == "end" else f"at {shown(self.text[token.at :])}"
        raise ReleaseError(f"--where {shown(self.text)}: {what}, {place}")


def quoted(name: str) -> str:
    """A column, as SQL."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    """A text, as SQL."""
    return "'" + text.replace("'", "''") + "'"
