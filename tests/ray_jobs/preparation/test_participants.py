"""participants.tsv in every spelling: read right, or refused in one line with who and what."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ldm.covariates import PAPER_SCHEMA, Covariate, CovariateSchema
from ray_jobs.errors import JobError
from ray_jobs.preparation.bids.participants import Participants, read_participants
from ray_jobs.preparation.bids.reading import Missing, Reading
from tests.ray_jobs.line import people

COUNT = 12
PEOPLE = people(COUNT)
HEADER = ("participant_id", *PAPER_SCHEMA.names)
Row = dict[str, Any]


def table(
    change: Callable[[int, Row], None] = lambda _, __: None,
    *,
    header: tuple[str, ...] = HEADER,
    separator: str = "\t",
    line_end: str = "\n",
    row_end: str = "",
) -> str:
    """The text of participants.tsv for twelve people."""
    lines = [separator.join(header) + row_end]
    for number, (name, covariates) in enumerate(PEOPLE.items()):
        row = {"participant_id": name, **covariates}
        change(number, row)
        lines.append(separator.join(str(row[key]) for key in HEADER) + row_end)
    return line_end.join(lines) + line_end


def one(key: str, value: object) -> Callable[[int, Row], None]:
    """The fourth person has another value."""

    def change(number: int, row: Row) -> None:
        if number == 3:
            row[key] = value

    return change


def every(key: str, function: Callable[[Any], object]) -> Callable[[int, Row], None]:
    def change(_: int, row: Row) -> None:
        row[key] = function(row[key])

    return change


def read(
    folder: Path,
    data: str | bytes,
    about: Mapping[str, Any] | None = None,
    *,
    schema: CovariateSchema = PAPER_SCHEMA,
    **reading: Any,
) -> Participants:
    encoded = data.encode() if isinstance(data, str) else data
    (folder / "participants.tsv").write_bytes(encoded)
    if about is not None:
        (folder / "participants.json").write_text(json.dumps(about))
    return read_participants(folder, schema, (), Reading(**reading), heads=True)


def told(folder: Path, *given: Any, **reading: Any) -> str:
    """The one line with which a table is refused."""
    with pytest.raises(JobError) as caught:
        read(folder, *given, **reading)
    line = str(caught.value)
    assert "\n" not in line
    return line


def as_people(found: Participants) -> None:
    """Every value is that of the person."""
    assert len(found.rows) == COUNT
    for name, participant in found.rows.items():
        assert participant.reason is None
        for key, value in PEOPLE[name].items():
            expected = value if key == "sex" else pytest.approx(value, rel=1e-9)
            assert participant.covariates[key] == expected


# ------------------------------------------------------------------------------- ways of writing


@pytest.mark.parametrize(
    "data",
    [
        table(row_end="\t"),
        table(line_end="\r\n"),
        table(line_end="\r"),
        "\ufeff" + table(),
        table().encode("utf-16"),
        table() + "\n\n\t\t\t\t\n",
        table(every("participant_id", lambda name: f"\u00a0{name} ")),
        table(every("sex", lambda sex: f" {sex}\u00a0")),
        table(every("age", lambda age: f'"{age}"')),
        table(every("sex", lambda sex: {"F": "female ", "M": "MALE"}[sex])),
        table(header=("Participant_ID", "SEX", "Age", "Ventricular_Volume", "BRAIN_VOLUME")),
        table(header=tuple(f" {name} " for name in HEADER)),
    ],
    ids=[
        *("trailing tabs", "crlf", "cr", "mark", "utf-16", "empty lines", "spaces round ids"),
        *("spaces round values", "quotes", "sex in full", "other case", "spaces in header"),
    ],
)
def test_a_table_written_in_another_way_is_read_as_it_is_meant(
    tmp_path: Path, data: str | bytes
) -> None:
    as_people(read(tmp_path, data))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (table(separator=","), "cannot be read: it is separated by commas; expected tabs"),
        (table(separator=";"), "cannot be read: it is separated by semicolons; expected tabs"),
        (table(one("age", '"50')), "a quote is never closed"),
        (table(one("age", "50\t51")), "line 5 has 6 cells, the header 5"),
        (table(one("participant_id", "")), "line 5 has no participant_id"),
        (table(one("participant_id", "sub-01")), "has participant sub-01 twice"),
        (table(one("participant_id", "../../x")), "line 5: 'sub-../../x' is no participant's id"),
        (table(header=(*HEADER[:2], *HEADER[1:2], *HEADER[3:])), "has the column sex twice"),
        (table(header=(*HEADER[:2], "Sex", *HEADER[3:])), "has no column age; it has"),
        (table().encode() + b"\xff\n", "it is not UTF-8 text (byte "),
        (b"PK\x03\x04\x00\x00", "it holds binary data"),
        ("", "cannot be read: No columns: it is empty"),
    ],
)
def test_a_table_that_is_not_sure_is_refused_in_one_line(
    tmp_path: Path, data: str | bytes, line: str
) -> None:
    assert line in told(tmp_path, data)


@pytest.mark.parametrize("blank", ["", "n/a", "N/A", "NaN", "null", "None", "unknown", " ", "-"])
def test_a_missing_value_is_missing_however_it_is_written(tmp_path: Path, blank: str) -> None:
    found = read(tmp_path, table(one("age", blank))).rows["sub-04"]
    assert found.missing == ("age",)
    assert found.reason == f"age is {blank.strip()!r}: expected a finite number in year"


# ------------------------------------------------------------------------------------ columns


GENDER = ("participant_id", "gender", *HEADER[2:])


def test_a_column_of_another_name_is_named_and_then_taken_in_any_case(tmp_path: Path) -> None:
    data = table(header=GENDER)
    assert told(tmp_path, data).endswith("did you mean --column sex=gender?")
    found = read(tmp_path, data, columns={"sex": "Gender"})
    as_people(found)
    assert found.notes == ("sex: from the column 'gender'",)


def test_a_column_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    line = told(tmp_path, table(header=GENDER), columns={"sex": "gendre"})
    assert line.startswith("--column sex=gendre: ")
    assert "has no such column; did you mean gender? it has participant_id, gender, age" in line


def test_a_column_that_is_there_in_two_cases_is_refused_unless_one_is_exact(
    tmp_path: Path,
) -> None:
    twice = ("participant_id", "sex", "Age", "AGE", "brain_volume")
    schema = CovariateSchema((PAPER_SCHEMA["sex"], PAPER_SCHEMA["age"]))
    line = told(tmp_path, table(header=twice), schema=schema)
    assert "has the column Age and AGE twice; leave one, or say which with --column age=" in line
    exact = ("participant_id", "sex", "age", "AGE", "brain_volume")
    found = read(tmp_path, table(header=exact), schema=schema)
    assert found.rows["sub-01"].covariates["age"] == PEOPLE["sub-01"]["age"]


# -------------------------------------------------------------------------------------- units

months = every("age", lambda age: age * 12)
millilitres = every("ventricular_volume", lambda volume: volume / 1000)


@pytest.mark.parametrize("unit", ["years", "Year", "yr", "a", "YEARS", "n/a", ""])
def test_years_in_any_spelling_stay_as_they_are(tmp_path: Path, unit: str) -> None:
    as_people(read(tmp_path, table(), {"age": {"Units": unit}}))


@pytest.mark.parametrize(
    ("change", "key", "unit"),
    [
        *((months, "age", unit) for unit in ("months", "Month", "mo")),
        (every("age", lambda age: age * 365.25), "age", "days"),
        (every("age", lambda age: age * 365.25 / 7), "age", "weeks"),
        *(
            (millilitres, "ventricular_volume", unit)
            for unit in ("mL", "ml", "cm3", "cm^3", "cm\u00b3", "cc", "millilitres")
        ),
        (every("brain_volume", lambda volume: volume / 1e6), "brain_volume", "litre"),
        *(
            (lambda _, __: None, "brain_volume", unit)
            for unit in ("mm3", "mm^3", "mm\u00b3", "cubic millimetres", "\u00b5L")
        ),
    ],
)
def test_numbers_are_converted_from_the_unit_that_participants_json_tells(
    tmp_path: Path, change: Any, key: str, unit: str
) -> None:
    as_people(read(tmp_path, table(change), {key.upper(): {"Units": unit}}))


def test_a_unit_that_the_user_tells_is_believed_before_the_file(tmp_path: Path) -> None:
    found = read(tmp_path, table(months), {"age": {"Units": "years"}}, units={"age": "month"})
    as_people(found)
    assert found.notes == ("age: from month (--units) to year",)


@pytest.mark.parametrize(
    ("change", "about", "line"),
    [
        (months, {}, "if they are in month, say --units age=month"),
        (months, {"age": {"Units": "years"}}, "if they are in month, say --units age=month"),
        (millilitres, {}, "expected 500 to 600000 mm3; if they are in cm3, say --units ventric"),
        (
            lambda _, __: None,
            {"ventricular_volume": {"Units": "mL"}},
            "they were read as mL: say --units ventricular_volume=UNIT if they are not",
        ),
        (every("age", lambda _: -999), {}, "age is -999 to -999 year in 12 of 12 participants"),
        (lambda _, __: None, {"age": {"Units": "mm3"}}, "unit 'mm3': expected year or month or"),
        (lambda _, __: None, {"age": {"Units": "ells"}}, "unit 'ells': expected year or month"),
        (lambda _, __: None, {"age": {"Units": ["year"]}}, "Units ['year'], expected text"),
        (every("age", lambda age: f"{age:.1f}".replace(".", ",")), {}, "no number in 12 partici"),
        (every("age", lambda age: f"{age} years"), {}, "no number in 12 participants: age is '"),
    ],
)
def test_a_column_of_which_most_does_not_fit_is_refused_with_what_to_say(
    tmp_path: Path, change: Any, about: dict[str, Any], line: str
) -> None:
    assert line in told(tmp_path, table(change), about)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("age", -999, "age is -999: expected 0.01 to 120 year; if -999 stands for a missing value"),
        ("age", 0, "age is 0: expected 0.01 to 120 year; if 0 stands for a missing value"),
        ("age", 999, "age is 999: expected 0.01 to 120 year; if 999 stands for a missing value"),
        ("age", 738, "age is 738: expected 0.01 to 120 year; in month it would be 61.5"),
        ("age", 22461, "in day it would be 61.4949"),
        ("age", "61,5", "age is '61,5': expected a finite number in year, with a point for the"),
        ("age", "1_0", "age is '1_0': expected a finite number in year"),
        ("ventricular_volume", 30, "ventricular_volume is 30: expected 500 to 600000 mm3; in cm3"),
        ("brain_volume", -1, "brain_volume is -1: expected 200000 to 2.8e+06 mm3"),
        ("brain_volume", 0, "if 0 stands for a missing value, write n/a"),
        ("sex", "X", "sex is 'X': expected one of F, M"),
    ],
)
def test_a_value_that_no_person_has_is_the_subjects_reason_and_nobody_elses(
    tmp_path: Path, key: str, value: object, reason: str
) -> None:
    found = read(tmp_path, table(one(key, value))).rows
    assert reason in str(found.pop("sub-04").reason)
    assert all(participant.reason is None for participant in found.values())


def children(number: int, row: Row) -> None:
    row["age"] = 6 + number / 2 if number != 3 else 96


def test_a_value_in_another_unit_than_the_rest_is_found_though_a_person_might_have_it(
    tmp_path: Path,
) -> None:
    found = read(tmp_path, table(children)).rows
    assert found["sub-04"].reason == (
        "age is 96, 6 to 11.5 year in the others: it seems to be in month"
    )
    assert sum(participant.reason is not None for participant in found.values()) == 1


def test_nothing_is_guessed_where_the_schema_tells_its_own_plausible_range(tmp_path: Path) -> None:
    own = Covariate(name="age", unit="year", maximum=100, plausible=(0, 100))
    schema = CovariateSchema((own,))
    found = read(tmp_path, table(children), schema=schema).rows
    assert found["sub-04"].covariates == {"age": 96}
    assert read(tmp_path, table(one("age", 0)), schema=schema).rows["sub-04"].reason is None
    far = read(tmp_path, table(one("age", 101)), schema=schema).rows["sub-04"].reason
    assert str(far).startswith("age is 101: expected 0 to 100 year")


def test_the_old_beside_the_young_are_no_slip_of_a_unit(tmp_path: Path) -> None:
    def generations(number: int, row: Row) -> None:
        row["age"] = 8 if number % 2 else 40 + number

    found = read(tmp_path, table(generations)).rows
    assert all(participant.reason is None for participant in found.values())


def test_intracranial_volumes_are_converted_too(tmp_path: Path) -> None:
    text = "\n".join(
        line + ("\ticv" if not number else f"\t{1500 + number}")
        for number, line in enumerate(table().splitlines())
    )
    about = {"icv": {"Units": "mL"}}
    found = read(tmp_path, text, about, columns={"intracranial_volume": "icv"}).rows
    assert found["sub-03"].intracranial == 1_503_000


# ------------------------------------------------------------------------------------- levels


def coded(female: str, male: str) -> str:
    return table(every("sex", lambda sex: {"F": female, "M": male}[sex]))


@pytest.mark.parametrize(
    ("female", "male", "about", "levels"),
    [
        ("2", "1", {"1": "male", "2": "Female"}, {}),
        ("2", "1", {"1": {"Description": "Male"}, "2": {"Description": "female"}}, {}),
        ("0", "1", {}, {"0": "F", "1": "M"}),
        ("0.0", "1.0", {}, {"0": "F", "1": "M"}),
        ("femme", "Homme", {}, {"Femme": "F", "homme": "M"}),
        ("1", "2", {"1": "male", "2": "female"}, {"1": "F", "2": "M"}),
    ],
)
def test_texts_stand_for_the_levels_that_the_user_or_the_file_says(
    tmp_path: Path, female: str, male: str, about: dict[str, Any], levels: dict[str, str]
) -> None:
    told_so = {"sex": levels} if levels else {}
    found = read(tmp_path, coded(female, male), {"sex": {"Levels": about}}, levels=told_so)
    as_people(found)
    assert found.notes[0].startswith("sex: ")


def test_texts_that_nobody_explains_are_refused_with_the_option_that_does(tmp_path: Path) -> None:
    line = told(tmp_path, coded("1", "2"))
    assert "sex is '1', '2' in 12 of 12 participants, expected F, M" in line
    assert (
        'say which is which, as in --levels sex=1:F,2:M, or "Levels" in participants.json' in line
    )


def test_a_file_that_contradicts_the_table_is_refused(tmp_path: Path) -> None:
    line = told(tmp_path, table(), {"sex": {"Levels": {"F": "male", "M": "female"}}})
    assert "'M' is M, participants.json calls it 'female'" in line


def test_a_broken_participants_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "participants.json").write_text("{")
    assert "participants.json is no JSON object" in told(tmp_path, table())


def test_a_level_may_be_called_none(tmp_path: Path) -> None:
    levels = ("none", "mild")
    schema = CovariateSchema((Covariate(name="sex", kind="categorical", levels=levels),))
    found = read(tmp_path, coded("None", "mild"), schema=schema).rows
    assert {p.covariates["sex"] for p in found.values()} == set(levels)


# ------------------------------------------------------------------------------------- missing


def test_a_subject_who_lacks_a_covariate_is_kept_where_it_may_be_left_out(tmp_path: Path) -> None:
    leaving = read(tmp_path, table(one("age", "n/a")), missing=Missing.LEAVE_OUT).rows["sub-04"]
    assert (leaving.reason, leaving.missing) == (None, ("age",))
    assert set(leaving.covariates) == set(PAPER_SCHEMA.names) - {"age"}


def test_a_value_that_is_wrong_is_not_one_that_is_missing(tmp_path: Path) -> None:
    wrong = read(tmp_path, table(one("age", -999)), missing=Missing.LEAVE_OUT).rows["sub-04"]
    assert str(wrong.reason).startswith("age is -999")


def test_a_covariate_that_most_lack_is_refused(tmp_path: Path) -> None:
    def lacking(number: int, row: Row) -> None:
        if number < 7:
            row["age"] = "n/a"

    line = told(tmp_path, table(lacking), missing=Missing.LEAVE_OUT)
    assert "age is missing in 7 of 12 participants, too many to learn from the others" in line


@pytest.mark.parametrize(
    "there", ["participants.csv", "participants.xlsx", "dataset/participants.tsv"]
)
def test_a_folder_without_a_table_says_which_lies_near(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text(table())
    (tmp_path / "participants.json").write_text("{}")
    with pytest.raises(JobError) as caught:
        read_participants(tmp_path, PAPER_SCHEMA, (), Reading())
    assert str(caught.value) == (
        f"{tmp_path} has no participants.tsv, but {there}; expected a BIDS dataset"
    )
