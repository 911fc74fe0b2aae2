"""`prepare` on tables of other cohorts: its options, its schema file, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.preparation.job import read_schema
from tests.ray_jobs.line import ended, people, refused, without_ray, write_prepared

DX = ("CN", "MCI", "AD")
SCHEMA: list[dict[str, Any]] = [
    {"name": "sex", "kind": "categorical", "levels": ["F", "M"]},
    {"name": "age", "unit": "year"},
    {"name": "dx", "kind": "categorical", "levels": list(DX)},
]


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """A prepared cohort whose table becomes another one: gender as 0/1, age in months, diagnoses;
    sub-03 lacks age, sub-05 the diagnosis."""
    write_prepared(tmp_path / "p")
    folder = tmp_path / "p-bids"
    rows = []
    for number, (name, row) in enumerate(people(12).items(), 1):
        age = "n/a" if number == 3 else round(row["age"] * 12)
        dx = "" if number == 5 else DX[number % 3]
        rows.append((name, "FM".index(row["sex"]), age, dx))
    table = pd.DataFrame(rows, columns=["participant_id", "Gender", "AGE", "dx"])
    table.to_csv(folder / "participants.tsv", sep="\t", index=False)
    (folder / "participants.json").write_text(json.dumps({"AGE": {"Units": "months"}}))
    (tmp_path / "schema.json").write_text(json.dumps({"covariates": SCHEMA}))
    return folder


def words(bids: Path, *more: object) -> list[object]:
    out = bids.parent / "p"
    schema = bids.parent / "schema.json"
    centred = ("--preset", "tiny", "--placement", "centre")
    return ["prepare", bids, *centred, "--covariates", schema, *more, "--out", out]


GENDER = ("--column", "sex=gender", "--levels", "sex=0:F,1:M")


def test_another_cohorts_table_is_prepared_with_what_is_told_of_it(
    bids: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, told = ended(capsys, *words(bids, *GENDER))
    assert code == 0
    assert "participants.tsv: sex: from the column 'Gender'" in said
    assert "participants.tsv: age: from months (participants.json) to year" in said
    assert told.splitlines() == [
        "unusable: sub-03: age is 'n/a': expected a finite number in year",
        "unusable: sub-05: dx is '': expected one of CN, MCI, AD",
    ]
    cohort = PreparedCohort.open(bids.parent / "p")
    assert len(cohort.table) == 10
    for _, row in cohort.table.iterrows():
        person = people(12)[row["participant_id"]]
        assert row["sex"] == person["sex"]
        assert row["age"] == pytest.approx(person["age"], abs=0.05)
    assert cohort.schema["dx"].coding == "one-hot"
    assert cohort.schema["sex"].coding == ""


def test_subjects_who_lack_a_covariate_are_kept_where_that_is_asked_for(
    bids: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = words(bids, *GENDER, "--missing", "leave-out")
    code, said, told = ended(capsys, *asked)
    assert (code, told) == (0, "")
    assert "age: left out of 1 of 12 usable subjects\ndx: left out of 1 of 12 usable" in said
    cohort = PreparedCohort.open(bids.parent / "p")
    table = cohort.table.set_index("participant_id")
    assert list(table.index[table["age"].isna()]) == ["sub-03"]
    assert list(table.index[table["dx"].isna()]) == ["sub-05"]
    assert cohort.schema["age"].minimum < table["age"].min()
    assert table["age"].max() < cohort.schema["age"].maximum
    code, said, _ = ended(capsys, *asked)
    assert "; nothing left to do\n" in said
    assert PreparedCohort.open(bids.parent / "p").fingerprint == cohort.fingerprint


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "has no column sex; it has participant_id, Gender, AGE, dx. Add it, or name other"),
        (("--column", "sex"), "--column sex: expected NAME=COLUMN, such as sex=gender"),
        (("--column", "sexx=gender"), "--column sexx=...: did you mean sex? expected one of sex,"),
        ((*GENDER, "--column", "sex=dx"), "--column sex=dx: sex is given twice"),
        (("--column", "sex=sex"), "has no such column; did you mean Gender? it has"),
        ((*GENDER[:2],), "sex is '0', '1' in 12 of 12 participants, expected F, M; say which"),
        ((*GENDER, "--levels", "sex=0:M"), "--levels sex=0:M: '0' is said twice"),
        (("--levels", "sex=0:X"), "--levels sex=0:X: sex is 'X': expected one of F, M"),
        (("--levels", "sex=0"), "--levels sex=0: expected NAME=TEXT:LEVEL,TEXT:LEVEL, such as"),
        (("--levels", "age=0:F"), "--levels age=...: expected one of sex, dx"),
        (("--units", "age=mm3"), "--units age=mm3: unit 'mm3': expected year or month or week"),
        (("--units", "dx=year"), "--units dx=...: expected one of age, intracranial_volume"),
        (("--missing", "keep"), "--missing: invalid choice: 'keep'"),
        ((*GENDER, "--units", "age=year"), "if they are in month, say --units age=month"),
    ],
)
def test_what_is_told_wrongly_is_refused_in_one_line(
    bids: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert message in refused(capsys, *words(bids, *more))


def test_a_virtual_cohort_needs_no_telling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(
        capsys, "prepare", "--cohort", "virtual", *GENDER, "--preset", "tiny", "--out", tmp_path
    )
    assert "a virtual cohort's table is known" in told


@pytest.mark.parametrize(
    ("covariates", "message"),
    [
        (
            [{"name": "dx", "kind": "categorical"}],
            "dx: a categorical covariate without levels",
        ),
        ([{"name": "dx", "kind": "nominal", "levels": ["a", "b"]}], "kind 'nominal', expected con"),
        ([{"name": "dx", "kind": "categorical", "level": ["a", "b"]}], "did you mean levels?"),
        ([{"name": "dx", "kind": "categorical", "levels": "ab"}], "levels 'ab', expected a list"),
        ([{"name": "Age"}], "column 'Age': expected lower case, digits and underscores"),
        ([{"name": "path"}], "column 'path': the name is taken by another manifest column"),
        ([{"name": "split"}], "split is a name that prepare uses itself"),
        ([{"name": "age", "plausible": [9]}], "plausible (9,), expected two numbers"),
        ([], "no covariate, expected at least one"),
    ],
)
def test_a_wrong_schema_file_is_refused_with_what_it_lacks(
    bids: Path, capsys: pytest.CaptureFixture[str], covariates: list[Any], message: str
) -> None:
    (bids.parent / "schema.json").write_text(json.dumps({"covariates": covariates}))
    told = refused(capsys, *words(bids))
    assert message in told
    assert "schema.json: " in told


def test_the_schema_that_the_documentation_shows_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "covariates.md").read_text()
    (tmp_path / "schema.json").write_text(page.split("```json\n")[1].split("```")[0])
    schema = read_schema(str(tmp_path / "schema.json"))
    assert schema.names == ("sex", "age", "diagnosis", "hippocampal_volume")
    assert schema["age"].plausible == (0, 3)
