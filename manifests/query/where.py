"""The filter language of `--where`: from text such as "age > 70 and sex = 'F'" to Arrow."""

from __future__ import annotations

import difflib
import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ReleaseError
from manifests.format.schema import FAILED, OK, WITHDRAWN, Column, columns_of
from manifests.query.where_tokens import Token, scan, shown, unquote

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
KEYWORDS = {"and", "or", "not", "in", "between", "like", "is", "null", "true", "false"}
DEEPEST = 50
LARGEST = 2**63 - 1  # of an int64 column

Value = bool | int | float | str


def parse_where(text: str, schema: pa.Schema) -> pc.Expression:
    """The Arrow expression of a filter over a manifest with this schema.

    Raises:
        ReleaseError: what cannot be understood and where; an unknown column, with the closest
            one; a value that can never match, such as an unknown level.
    """
    return _Parser(text, schema).parse()


def columns_in(text: str, schema: pa.Schema) -> set[str]:
    """The columns that a filter looks at. Raises as `parse_where` does."""
    parser = _Parser(text, schema)
    parser.parse()
    return parser.used


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
        self.used: set[str] = set()
        columns, _ = columns_of(self.schema)
        self.columns: dict[str, Column] = {column.name: column for column in columns}

    def parse(self) -> pc.Expression:
        expression = self._or()
        if self.next.kind != "end":
            self._fail("expected 'and', 'or' or the end")
        return expression

    def _or(self) -> pc.Expression:
        terms = [self._and()]
        while self._take("or"):
            terms.append(self._and())
        return functools.reduce(operator.or_, terms)

    def _and(self) -> pc.Expression:
        terms = [self._not()]
        while self._take("and"):
            terms.append(self._not())
        return functools.reduce(operator.and_, terms)

    def _not(self) -> pc.Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            self._fail(f"nested more than {DEEPEST} deep")
        try:
            if self._take("not"):
                return ~self._not()
            if self._take("("):
                inside = self._or()
                self._need(")")
                return inside
            return self._predicate()
        finally:
            self.depth -= 1

    def _predicate(self) -> pc.Expression:
        if self.next.kind in ("number", "text") or self.next.text in ("-", "+"):
            return self._value_first()
        name = self._column()
        if self._take("is"):
            negated = self._take("not")
            self._need("null")
            null = pc.field(name).is_null()
            return ~null if negated else null
        negated = self._take("not")
        if self._take("in"):
            found = self._in(name)
        elif self._take("between"):
            low = self._value(name, ordered=True)
            self._need("and")
            found = (pc.field(name) >= low) & (pc.field(name) <= self._value(name, ordered=True))
        elif self._take("like"):
            found = self._like(name)
        elif negated:
            self._fail("expected 'in', 'between' or 'like' after 'not'")
        elif self.next.text in COMPARE:
            return self._comparison(name)
        elif pa.types.is_boolean(self._type(name)):
            return pc.field(name)
        else:
            self._fail(f"expected a comparison such as = or < after {name}")
        return ~found if negated else found

    def _comparison(self, name: str) -> pc.Expression:
        symbol = self._advance().text
        compare, ordered = COMPARE[symbol], symbol in MIRRORED
        if self._is_column():
            other = self._column()
            if self._is_text(name) != self._is_text(other):
                self._fail(f"{name} and {other} cannot be compared: one is text, one is a number")
            return compare(pc.field(name), pc.field(other))
        return compare(pc.field(name), self._value(name, ordered=ordered))

    def _value_first(self) -> pc.Expression:
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
        expression = COMPARE[MIRRORED.get(symbol, symbol)](pc.field(name), value)
        if self.next.text in COMPARE:
            expression = expression & self._comparison(name)
        return expression

    def _in(self, name: str) -> pc.Expression:
        self._need("(")
        values = [self._value(name)]
        while self._take(","):
            values.append(self._value(name))
        self._need(")")
        kind = self._type(name)
        if pa.types.is_integer(kind):
            values = [int(value) for value in values if _is_index(value)]
        return pc.field(name).isin(pa.array(values, type=kind))

    def _like(self, name: str) -> pc.Expression:
        if not self._is_text(name):
            self._fail(f"'like' needs text, and {name} holds {self._type(name)}")
        if self.next.kind != "text":
            self._fail("expected a pattern in quotes after 'like'")
        return pc.match_like(pc.field(name), unquote(self._advance().text))

    def _value(self, name: str, *, ordered: bool = False) -> Value:
        """A literal that fits the column."""
        token = self.next
        kind = self._type(name)
        if pa.types.is_boolean(kind):
            if token.text.lower() in ("true", "false") and not ordered:
                return self._advance().text.lower() == "true"
            self._fail(f"{name} is true or false")
        if self._is_text(name):
            if token.kind != "text":
                quoted = f"{name} = '{token.text}'" if token.kind in ("word", "number") else "'...'"
                self._fail(f"{name} is text: put it in quotes, {quoted}")
            value = unquote(self._advance().text)
            self._check_level(name, value)
            return value
        sign = -1 if token.text == "-" else 1
        if token.text in ("-", "+"):
            token = (self._advance(), self.next)[1]
        if token.kind != "number":
            self._fail(f"{name} is a number; expected one")
        digits = self._advance().text.replace("_", "")
        exact = digits.isdecimal() and int(digits) <= LARGEST
        return sign * (int(digits) if exact else float(digits))

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
        self.used.add(name)
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


def _is_index(value: Value) -> bool:
    """Whether an integer column can hold the number at all; 1.5 and 1e999 are in none."""
    return float(value).is_integer() and abs(float(value)) <= LARGEST
