"""The filter language: what it finds, and the one line for what it cannot understand."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from manifests.errors import ReleaseError
from manifests.format.schema import rows_table
from manifests.query.filter import Filter
from manifests.query.where import parse_where
from tests.manifests.releases import SCHEMA, row

ROWS = [
    row(0, b"a", sex="F", age=60.0, ventricular_volume=40_000.0),
    row(1, b"b", sex="M", age=70.0, ventricular_volume=20_000.0),
    row(2, b"c", sex="F", age=90.5, ventricular_volume=90_000.0, extrapolated=True),
    row(3, sex="M", age=50.0, ventricular_volume=7_000.0, error="it's empty: 100%"),
]
TABLE: pa.Table = rows_table(ROWS, SCHEMA)


def found(where: str) -> list[int]:
    with Filter(where, SCHEMA) as chosen:
        matching = chosen.apply(TABLE)
    return [int(index) for index in matching["index"].to_pylist()]


@pytest.mark.parametrize(
    ("where", "indices"),
    [
        ("age > 60", [1, 2]),
        ("age>=60", [0, 1, 2]),
        ("AGE = 60", [0]),
        ("age == 60.0", [0]),
        ("age <> 60 and age != 70", [2, 3]),
        ("age > 6e1", [1, 2]),
        ("age > -1", [0, 1, 2, 3]),
        ("60 < age", [1, 2]),
        ("60 <= age < 90.5", [0, 1]),
        ("ventricular_volume <= 40_000", [0, 1, 3]),
        ("sex = 'F'", [0, 2]),
        ('sex = "F"', [0, 2]),
        ("sex != 'F'", [1, 3]),
        ("sex = 'F' and age > 80 or index = 3", [2, 3]),
        ("sex = 'F' AND (age > 80 OR index = 3)", [2]),
        ("not sex = 'F'", [1, 3]),
        ("not (sex = 'F' or age < 60)", [1]),
        ("not not sex = 'F'", [0, 2]),
        ("extrapolated", [2]),
        ("not extrapolated", [0, 1, 3]),
        ("extrapolated = false", [0, 1, 3]),
        ("index in (0, 3, 77, 1.5)", [0, 3]),
        ("index not in (0, 3)", [1, 2]),
        ("age in (50, 90.5)", [2, 3]),
        ("index < 99999999999999999999", [0, 1, 2, 3]),
        ("index in (99999999999999999999, 1e999, -1e999, 2)", [2]),
        ("participant_id in ('sub-000001')", [1]),
        ("age between 60 and 70", [0, 1]),
        ("age not between 60 and 70 and sex = 'M'", [3]),
        ("path is null", [3]),
        ("error is not null", [3]),
        ("error like '%empty%'", [3]),
        ("error = 'it''s empty: 100%'", [3]),
        ("participant_id not like '%1'", [0, 2, 3]),
        ("status = 'failed'", [3]),
        ("age > ventricular_volume", []),
        ("age_scaled <= age", [0, 1, 2, 3]),
        ("(((age > 60)))", [1, 2]),
        ("error not in ('other')", [3]),  # null is in no list, nor out of it
        ("bytes != 5", [0, 1, 2]),
        ("not bytes > 5", [0, 1, 2]),
        ("not (bytes > 5 or age > 60)", [0]),
        ("bytes > 5 or path is null", [3]),
        ("not (60 <= age < 90.5)", [2, 3]),
        ("error like '100\\%'", []),
        ("participant_id = 'a''; drop table manifest; --'", []),
        (f"index in ({', '.join(map(str, range(3_000)))})", [0, 1, 2, 3]),
        (" or ".join(["age > 80"] * 900), [2]),
        (f"age > 0.{'0' * 5_000}1", [0, 1, 2, 3]),
    ],
)
def test_a_filter_finds(where: str, indices: list[int]) -> None:
    assert found(where) == indices


def test_what_no_row_of_a_group_can_satisfy_is_known_before_it_is_read() -> None:
    for where, bounds in {
        "index = 7 and error like 'a%'": "index == 7",
        "60 <= age < 70": "(age >= 60) and (age <= 70)",
        "age between -1e3 and 1": "(age >= -1000) and (age <= 1)",
        "index < 5 or sex = 'F'": "(index < 5) or (sex == F)",
    }.items():
        with Filter(where, SCHEMA) as chosen:
            assert rounded(str(chosen.bounds)) == bounds
    for where in ("age > 60 or extrapolated", "not age <= 60", "age != 60", "age > index"):
        with Filter(where, SCHEMA) as chosen:
            assert chosen.bounds is None


def rounded(text: str) -> str:
    """Of an expression, with no more digits than were asked for."""
    plain = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.4g}", text)
    return plain.replace('"', "")[1:-1]


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("", "expected a column, at the end"),
        ("agee > 60", "unknown column 'agee'; did you mean age?"),
        ("ventricle > 60", "unknown column 'ventricle'; did you mean ventricular_volume?"),
        ("zzz > 60", "unknown column 'zzz'; there are index, participant_id,"),
        ("age", "expected a comparison such as = or < after age, at the end"),
        ("age >", "age is a number; expected one, at the end"),
        ("age > '60'", "age is a number; expected one, at \"'60'\""),
        ("age > 60 61", "expected 'and', 'or' or the end, at '61'"),
        ("age > 60 and", "expected a column, at the end"),
        ("age > 60x", "cannot read '60x'"),
        ("age > 1.2.3", "cannot read '1.2.3'"),
        ("age > 60;", "cannot read ';'"),
        ("sex = F", "sex is text: put it in quotes, sex = 'F', at 'F'"),
        ("sex = 1", "sex is text: put it in quotes, sex = '1', at '1'"),
        ("sex = 'f'", "sex is one of 'F', 'M', at \"'f'\""),
        ("sex in ('F', 'X')", "sex is one of 'F', 'M', at \"'X')\""),
        ("status = 'good'", "status is one of 'ok', 'failed', 'withdrawn'"),
        ("sex = 'F", 'cannot read "\'F"'),
        ("sex > age", "cannot be compared: one is text, one is a number"),
        ("age like '6%'", "'like' needs text, and age holds double"),
        ("error like 5", "expected a pattern in quotes"),
        ("extrapolated > true", "extrapolated is true or false"),
        ("extrapolated = 1", "extrapolated is true or false"),
        ("age is 60", "expected 'null', at '60'"),
        ("age not 60", "expected 'in', 'between' or 'like' after 'not'"),
        ("age in 60", "expected '(', at '60'"),
        ("age in (60", "expected ')', at the end"),
        ("age in ()", "age is a number; expected one, at ')'"),
        ("age between 60", "expected 'and', at the end"),
        ("(age > 60", "expected ')', at the end"),
        ("60 < 70", "expected a column, at '70'"),
        ("60 age", "expected a comparison such as = or <, at 'age'"),
        ("and", "expected a column, at 'and'"),
        ("(" * 200 + "age > 1", "nested more than 50 deep"),
        ("age > 1; drop table manifest", "cannot read '; drop table manifest'"),
    ],
)
def test_a_mistake_is_told_with_its_place(where: str, line: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        parse_where(where, SCHEMA)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
