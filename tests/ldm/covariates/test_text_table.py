"""Text tables: separators, ends, quotes and encodings; and a user's table for a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm.covariates import PAPER_SCHEMA
from ldm.covariates.sources import TableCovariates
from ldm.covariates.text_table import read_text_table
from ldm.errors import LdmError

PLAIN = "age,sex,ventricular_volume\n61.5,F,30000\n72.5,M,45000\n"
PARTICIPANTS = (
    "participant_id\tsex\tage\tventricular_volume\na\tF\t61.5\t30000\nb\tM\t72.5\t45000\n"
)
ROWS = [
    {"sex": "F", "age": 61.5, "ventricular_volume": 30_000.0},
    {"sex": "M", "age": 72.5, "ventricular_volume": 45_000.0},
]


def asked(folder: Path, data: str | bytes, name: str = "asked.csv") -> TableCovariates:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return TableCovariates.from_file(PAPER_SCHEMA, path)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (PLAIN, "asked.csv"),
        (PLAIN, "ASKED.CSV"),
        ("\ufeff" + PLAIN, "asked.csv"),
        (PLAIN.encode("utf-16"), "asked.csv"),
        (PLAIN.replace("\n", "\r\n"), "asked.csv"),
        (PLAIN.replace(",", ";"), "asked.csv"),
        (PLAIN.replace(",", "\t"), "asked.csv"),
        (PLAIN.replace(",", "\t"), "asked.tsv"),
        (PLAIN.replace(",", ", "), "asked.csv"),
        (PLAIN.replace("\n", ",\n"), "asked.csv"),
        (PLAIN + "\n\n", "asked.csv"),
        (PLAIN + ",,\n", "asked.csv"),
        (PLAIN.replace("age", "Age").replace("sex", "SEX"), "asked.csv"),
        (PLAIN.replace("F", '"female"'), "asked.csv"),
        (PARTICIPANTS, "participants.tsv"),
    ],
)
def test_a_table_for_a_release_is_read_as_it_is_meant(
    tmp_path: Path, data: str | bytes, name: str
) -> None:
    table = asked(tmp_path, data, name)
    assert [table.row(index) for index in range(len(table))] == ROWS
    assert table.fingerprint == TableCovariates(PAPER_SCHEMA, ROWS).fingerprint


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (PLAIN.replace("ventricular_volume", "ventricle_volume"), "did you mean ventricular_vol"),
        (PLAIN.replace("sex", "gender"), "unknown column 'gender': did you mean sex? expected at"),
        (PLAIN.replace("age", "age_years"), "unknown column 'age_years': did you mean age? "),
        (PLAIN.replace("age", "shoe"), "unknown column 'shoe': expected at least one of sex, age,"),
        (PLAIN.replace("age,", ","), "has a column without a name: expected at least one of sex"),
        (PLAIN.replace("sex", "Age"), "has age twice, as 'age' and 'Age': leave one"),
        (PLAIN.replace("61.5", "738"), "row 0 of the table of covariates: age is 738: expected"),
        (PLAIN.replace("30000", "30"), "in cm3 it would be 30000; the model knows 6995.68 to"),
        (PLAIN.replace("61.5", "-999"), "if -999 stands for a missing value, write n/a"),
        (PLAIN.replace("61.5", "61.5 years"), "age is '61.5 years': expected a finite number"),
        (PLAIN.replace(",", ";").replace(".", ","), "age is '61,5': expected a finite number in"),
        (PLAIN.replace("61.5,", ","), "row 0 of the table of covariates: age is ''"),
        (PLAIN.replace("61.5", "61,5"), "line 2 has 4 cells, the header 3"),
        (PLAIN.replace("F", '"F'), "a quote is never closed"),
        (PLAIN.replace("F", '"F\nM"'), "a quoted cell goes on over several lines"),
        (PLAIN.encode("utf-16")[2:], "binary data"),
    ],
)
def test_a_table_that_would_give_other_values_is_refused_in_one_line(
    tmp_path: Path, data: str | bytes, line: str
) -> None:
    with pytest.raises(LdmError) as caught:
        asked(tmp_path, data)
    assert line in str(caught.value)
    assert "asked.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_tells_which_rows_lie_beyond_the_model(tmp_path: Path) -> None:
    table = asked(tmp_path, PLAIN.replace("72.5", "95"))
    assert table.beyond(2) == [(1, ["age 95, of 44 to 82 year"])]
    assert table.beyond(1) == []


cells = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='"'))


@given(st.lists(st.lists(cells.filter(bool), min_size=3, max_size=3), min_size=1), st.data())
def test_what_is_written_comes_back_whatever_the_separator(
    rows: list[list[str]], data: Any
) -> None:
    separator = data.draw(st.sampled_from("\t;"))
    kept = [[cell.replace(";", "_") for cell in row] for row in rows]
    lines = [separator.join(["a", "b", "c"]), *(separator.join(row) for row in kept)]
    found = read_text_table("\n".join(lines).encode(), [separator])
    assert [list(row) for row in found.rows] == kept
