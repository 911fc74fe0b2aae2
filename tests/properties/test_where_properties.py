"""Filters of any shape find what plain Python finds, and no text makes the parser fall over."""

from __future__ import annotations

import io
import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.errors import ReleaseError
from manifests.format.schema import rows_table
from manifests.query.filter import Filter
from manifests.query.rows import StoredRows
from manifests.query.sql import run_sql
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
Judged = tuple[str, Predicate]


@st.composite
def comparisons(draw: st.DrawFn) -> Judged:
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


def combined(parts: st.SearchStrategy[Judged]) -> st.SearchStrategy[Judged]:
    def both(pair: tuple[Judged, Judged]) -> Judged:
        (left, p), (right, q) = pair
        return f"({left}) and ({right})", lambda row: p(row) and q(row)

    def either(pair: tuple[Judged, Judged]) -> Judged:
        (left, p), (right, q) = pair
        return f"({left}) or ({right})", lambda row: p(row) or q(row)

    def negated(part: Judged) -> Judged:
        text, p = part
        return f"not ({text})", lambda row: not p(row)

    pairs = st.tuples(parts, parts)
    return st.one_of(pairs.map(both), pairs.map(either), parts.map(negated))


@given(st.recursive(comparisons(), combined, max_leaves=6))
def test_a_filter_finds_what_plain_python_finds(where: Judged) -> None:
    text, predicate = where
    with Filter(text, SCHEMA) as chosen:
        found = chosen.apply(TABLE)["index"].to_pylist()
    assert found == [row["index"] for row in ROWS if predicate(row)]


WORDS = ["age", "sex", "'F'", "and", "or", "not", "in", "(", ")", "<", "=", "5", "-", ",", "like",
         "is", "null", "between", "true", "'", "extrapolated", "1e", "\x00", "é"]  # fmt: skip


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS)).map(" ".join)))
def test_any_text_is_a_filter_or_one_clear_line(text: str) -> None:
    with suppress(ReleaseError), Filter(text, SCHEMA) as chosen:
        chosen.apply(TABLE)


# ------------------------------------------------------------------- one language with SQL

NAMES = ["index", "bytes", "attempt", "age", "sex", "error", "extrapolated"]
FIELDS = [SCHEMA.field(name).with_nullable(True) for name in NAMES]
NULLABLE = pa.schema(FIELDS, SCHEMA.metadata)
NUMBERS = st.sampled_from(
    ["0", "1", "-1", "2.5", "70", "70.0", "7e1", "0.1", "1e-3", "12345678901234567890"]
)
TEXTS = st.sampled_from(["", "a", "b", "it's", "100%", "a_b", "a\\b", "ö"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "index": st.integers(-3, 3),
    "bytes": st.sampled_from([0, 1, 70, 2**53 + 1]),
    "attempt": st.integers(0, 2),
    "age": st.sampled_from([0.0, 0.1, 0.30000000000000004, 70.0, -1.5, 1e300]),
    "sex": st.sampled_from("FM"),
    "error": TEXTS,
    "extrapolated": st.booleans(),
}
TABLES = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}),
    max_size=8,
).map(lambda rows: pa.Table.from_pylist(rows, schema=NULLABLE))


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@st.composite
def sql_filters(draw: st.DrawFn) -> str:
    """A filter as `--where` and SQL both write it."""
    name = draw(st.sampled_from(NAMES))
    negated = draw(st.sampled_from(["", "not "]))
    if draw(st.integers(0, 5)) == 0:
        return f"{name} is {negated}null"
    symbol = draw(st.sampled_from(sorted(COMPARE)))
    if name == "extrapolated":
        return draw(st.sampled_from([name, f"{name} = true", f"{name} != false"]))
    if name == "sex":
        values = st.sampled_from(["'F'", "'M'"])
    else:
        values = TEXTS.map(literal) if name == "error" else NUMBERS
    one, other = draw(values), draw(values)
    forms = [
        f"{name} {symbol} {one}",
        f"{name} {negated}in ({one}, {other})",
        f"{name} {negated}between {one} and {other}",
    ]
    if name in ("error", "sex"):
        pattern = draw(st.sampled_from(["%", "a%", "_", "%\\%", "100%", "a_b"]))
        forms.append(f"{name} {negated}like {literal(pattern)}")
    else:
        forms += [f"{one} {symbol} {name}", f"{name} {symbol} bytes", f"age {symbol} {name}"]
    return draw(st.sampled_from(forms))


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(parts, st.sampled_from(["and", "or"]), parts)
    return st.one_of(
        pairs.map(" ".join),
        pairs.map(lambda p: f"({' '.join(p)})"),
        parts.map(lambda p: f"not {p}"),
    )


@settings(max_examples=300)
@given(TABLES, st.recursive(sql_filters(), joined, max_leaves=5))
def test_where_finds_what_sql_finds_also_where_values_are_null(table: pa.Table, where: str) -> None:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=3)  # of which some are ruled out by their bounds
    rows = StoredRows(file, "manifest")
    with Filter(where, rows.schema) as chosen:
        found = rows.table(NAMES, chosen).to_pylist()
    tables = {"manifest": (rows.schema, lambda: rows)}
    expected = run_sql(tables, f"SELECT * FROM manifest WHERE {where}").to_pylist()
    assert found == expected
