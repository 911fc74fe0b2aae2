"""Filters of any shape find what plain Python finds, and no text makes the parser fall over."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import ReleaseError
from manifests.format.schema import rows_table
from manifests.query.where import parse_where
from tests.manifests.releases import SCHEMA, row

ROWS = [
    row(index, b"%d" % index, age=age, sex=sex)
    for index, (age, sex) in enumerate((age, sex) for age in (50.0, 60.5, 70.0) for sex in "FM")
]
TABLE = rows_table(ROWS, SCHEMA)
COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Predicate = Callable[[Mapping[str, Any]], bool]
Filter = tuple[str, Predicate]


@st.composite
def comparisons(draw: st.DrawFn) -> Filter:
    kind = draw(st.sampled_from(["number", "sex", "in", "between"]))
    if kind == "sex":
        level, negated = draw(st.sampled_from("FM")), draw(st.booleans())
        text = f"sex {'!=' if negated else '='} '{level}'"
        return text, lambda row: (row["sex"] == level) != negated
    name = draw(st.sampled_from(["age", "index"]))
    numbers = st.sampled_from([-1, 0, 2, 50, 60.5, 70, 1e3])
    value, other = draw(numbers), draw(numbers)
    if kind == "in":
        return f"{name} in ({value}, {other})", lambda row: row[name] in (value, other)
    if kind == "between":
        return f"{name} between {value} and {other}", lambda row: value <= row[name] <= other
    symbol = draw(st.sampled_from(sorted(COMPARE)))
    return f"{name}{symbol}{value}", lambda row: bool(COMPARE[symbol](row[name], value))


def combined(parts: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    def both(pair: tuple[Filter, Filter]) -> Filter:
        (left, p), (right, q) = pair
        return f"({left}) and ({right})", lambda row: p(row) and q(row)

    def either(pair: tuple[Filter, Filter]) -> Filter:
        (left, p), (right, q) = pair
        return f"({left}) or ({right})", lambda row: p(row) or q(row)

    def negated(part: Filter) -> Filter:
        text, p = part
        return f"not ({text})", lambda row: not p(row)

    pairs = st.tuples(parts, parts)
    return st.one_of(pairs.map(both), pairs.map(either), parts.map(negated))


@given(st.recursive(comparisons(), combined, max_leaves=6))
def test_a_filter_finds_what_plain_python_finds(where: Filter) -> None:
    text, predicate = where
    found = TABLE.filter(parse_where(text, SCHEMA))["index"].to_pylist()
    assert found == [row["index"] for row in ROWS if predicate(row)]


WORDS = ["age", "sex", "'F'", "and", "or", "not", "in", "(", ")", "<", "=", "5", "-", ",", "like",
         "is", "null", "between", "true", "'", "extrapolated", "1e", "\x00", "é"]  # fmt: skip


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS)).map(" ".join)))
def test_any_text_is_a_filter_or_one_clear_line(text: str) -> None:
    with suppress(ReleaseError):
        TABLE.filter(parse_where(text, SCHEMA))
