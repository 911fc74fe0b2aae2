"""Sessions: one of them, a named one, or each as a sample of one person."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import pandas as pd
import pytest

from ldm.split import held_out, person_of
from ray_jobs.evaluation.sources import RealVolumes, check_held_out
from ray_jobs.files import read_json
from ray_jobs.preparation.bids.sessions import named, read_sessions
from ray_jobs.preparation.cohort import PreparedCohort
from tests.ray_jobs.line import (
    ended,
    head,
    people,
    refused,
    write_autoencoder,
    write_image,
    write_latents,
    write_participants,
)

pytestmark = pytest.mark.usefixtures("in_this_process", "seen_as_fine")

CENTRED = ("--preset", "tiny", "--placement", "centre")


def longitudinal(
    folder: Path,
    count: int = 4,
    sessions: Iterable[str] = ("01", "02"),
    **covariates: Any,
) -> Path:
    """Participants with an image a session, each 3 years older than in the one before."""
    folder.mkdir(parents=True)
    rows = {name: {**row, **covariates} for name, row in people(count).items()}
    write_participants(folder, rows)
    for seed, (name, row) in enumerate(people(count).items()):
        table = []
        for years, label in enumerate(sessions):
            path = folder / name / f"ses-{label}" / "anat" / f"{name}_ses-{label}_T1w.nii.gz"
            write_image(path, head(10 * seed + years))
            table.append({"session_id": f"ses-{label}", "age": row["age"] + 3 * years})
        pd.DataFrame(table).to_csv(folder / name / f"{name}_sessions.tsv", sep="\t", index=False)
    return folder


def prepare(
    capsys: pytest.CaptureFixture[str], bids: Path, *words: object
) -> tuple[PreparedCohort, str, str]:
    """The prepared cohort, what was said and what was told as errors."""
    out = bids.with_name("p")
    code, said, told = ended(
        capsys, "prepare", bids, *CENTRED, "--out", out, "--validation", 0.5, *words
    )
    assert code == 0, told
    return PreparedCohort.open(out), said, told


def test_by_default_the_first_session_is_used_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort, said, told = prepare(capsys, longitudinal(tmp_path / "b"))
    assert list(cohort.table["participant_id"]) == list(people(4))
    assert set(cohort.table["session"]) == {"ses-01"}
    assert cohort.table["image"][0] == "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
    assert said.count("chosen: ") == 4
    assert "chosen: sub-01: ses-01/anat/sub-01_ses-01_T1w.nii.gz (the first session)\n" in said
    assert told == ""


@pytest.mark.parametrize("name", ["02", "ses-02"])
def test_a_named_session_comes_with_its_own_age(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    bids = longitudinal(tmp_path / "b")
    cohort, said, _ = prepare(capsys, bids, "--session", name)
    assert set(cohort.table["session"]) == {"ses-02"}
    assert list(cohort.table["age"]) == [row["age"] + 3 for row in people(4).values()]
    assert "chosen" not in said
    told = refused(capsys, "prepare", bids, *CENTRED, "--out", tmp_path / "p")
    assert "holds another run: session 'ses-02' -> none." in told


def test_what_a_named_sessions_own_table_lacks_is_told_in_one_line_with_the_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b")
    for name in ("sub-01", "sub-03"):
        (bids / name / f"{name}_sessions.tsv").unlink()
    schema = tmp_path / "age.json"
    schema.write_text(
        '{"covariates": [{"name": "age", "unit": "year", "minimum": 0, "maximum": 120}]}'
    )
    for session, count in (("02", 2), ("01", 2)):
        words = ("--session", session, "--covariates", schema, "--out", tmp_path / session)
        code, _, told = ended(capsys, "prepare", bids, *CENTRED, "--ranges", "schema", *words)
        assert code == 0, told
        assert told.startswith("note: covariates-of-no-session: ")
        assert told.endswith(f"perhaps of another day ({count} of 4: sub-01, sub-03)\n")


def by_session(
    folder: Path, *lines: str, header: str = "participant_id\tsession_id\tage\tsex"
) -> Path:
    """Images of two sessions of two participants, and a table with a row a session."""
    longitudinal(folder, 2)
    for name in people(2):
        (folder / name / f"{name}_sessions.tsv").unlink()
    (folder / "participants.tsv").write_text("\n".join((header, *lines)) + "\n")
    return folder


AGE_AND_SEX = (
    '{"covariates": [{"name": "age", "unit": "year", "minimum": 0, "maximum": 120},'
    ' {"name": "sex", "levels": ["F", "M"], "kind": "categorical"}]}'
)
ROWS = ("sub-01\tses-01\t40\tF", "sub-01\tses-02\t43\tn/a", "02\t1\t50\tM", "02\t2\t53\tM")


@pytest.mark.parametrize(
    ("session", "ages"),
    [(None, [40, 50]), ("01", [40, 50]), ("02", [43, 53]), ("all", [40, 43, 50, 53])],
)
def test_a_table_with_a_row_a_session_is_read_by_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], session: str | None, ages: list[float]
) -> None:
    bids, schema = by_session(tmp_path / "b", *ROWS), tmp_path / "s.json"
    schema.write_text(AGE_AND_SEX)
    words = ("--covariates", schema, "--ranges", "schema")
    cohort, said, told = prepare(capsys, bids, *words, *(("--session", session) if session else ()))
    assert "participants.tsv: a row a session: 4 rows of 2 participants\n" in said
    assert list(cohort.table["age"]) == ages
    assert set(cohort.table["sex"][: len(ages) // 2]) == {"F"}  # n/a is no other sex
    assert told == ""


def test_a_session_without_a_row_has_another_ones_age_and_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids, schema = by_session(tmp_path / "b", *ROWS[:3]), tmp_path / "s.json"
    schema.write_text(AGE_AND_SEX)
    words = ("--covariates", schema, "--ranges", "schema", "--session", "02")
    cohort, _, told = prepare(capsys, bids, *words)
    assert list(cohort.table["age"]) == [43, 50]
    assert told.endswith("perhaps of another day (1 of 2: sub-02)\n")


@pytest.mark.parametrize(
    ("header", "lines", "told"),
    [
        ("participant_id\tage\tsex", ("1\t40\tF", "1\t43\tF"), "or a column session_id that tells"),
        (
            "participant_id\tvisit\tage\tsex",
            ("1\t01\t40\tF", "1\t02\t43\tF"),
            "tells them apart; did you mean --column session_id=visit?",
        ),
        (
            "participant_id\tsession_id\tage\tsex",
            ("1\t01\t40\tF", "1\tses-01\t43\tF"),
            "has ses-01 of participant sub-1 twice; expected one row each",
        ),
        (
            "participant_id\tsession_id\tage\tsex",
            ("1\t01\t40\tF", "2\t\t43\tF", "2\tn/a\t44\tF"),
            "has participant sub-2 twice without a session; expected one row each, or each with",
        ),
    ],
)
def test_rows_of_one_participant_that_no_session_tells_apart_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    header: str,
    lines: tuple[str, ...],
    told: str,
) -> None:
    bids, schema = by_session(tmp_path / "b", *lines, header=header), tmp_path / "s.json"
    schema.write_text(AGE_AND_SEX)
    words = ("prepare", bids, *CENTRED, "--covariates", schema, "--out", tmp_path / "p")
    assert told in refused(capsys, *words)


def test_a_column_of_sessions_by_another_name_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "participant_id\tvisit\tage\tsex"
    bids, schema = by_session(tmp_path / "b", *ROWS, header=header), tmp_path / "s.json"
    schema.write_text(AGE_AND_SEX)
    words = ("--covariates", schema, "--ranges", "schema", "--column", "session_id=visit")
    cohort, said, _ = prepare(capsys, bids, *words, "--session", "02")
    assert "participants.tsv: session_id: from the column 'visit'\n" in said
    assert list(cohort.table["age"]) == [43, 53]


def test_a_session_that_somebody_lacks_is_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b", 3)
    write_image(bids / "sub-03/ses-03/anat/sub-03_ses-03_T1w.nii.gz", head(1))
    code, _, told = ended(
        capsys,
        *("prepare", bids, *CENTRED, "--out", tmp_path / "p", "--session", "3"),
    )
    assert code == 1
    assert "unusable: sub-01: no T1w image of ses-3 (found ses-01: sub-01_ses-01_T1w" in told


def test_all_sessions_are_samples_of_one_person_held_out_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort, _, told = prepare(
        capsys, longitudinal(tmp_path / "b", 12), "--session", "all", "--ranges", "schema"
    )
    table = cohort.table
    assert list(table["participant_id"])[:3] == ["sub-01_ses-01", "sub-01_ses-02", "sub-02_ses-01"]
    assert len(table) == 24
    sides = table.groupby(table["participant_id"].map(person_of))["split"].agg(set)
    assert sides.map(len).max() == 1
    assert {side for sides_ in sides for side in sides_} == {"train", "validation"}
    for name, split in zip(table["participant_id"], table["split"], strict=True):
        assert (split == "validation") == held_out(person_of(name), 0.5)
    assert cohort.people("train") + cohort.people("validation") == 12
    ages = dict(zip(table["participant_id"], table["age"], strict=True))
    assert ages["sub-05_ses-02"] == pytest.approx(ages["sub-05_ses-01"] + 3)
    # Volumes of the brain are in participants.tsv alone: told.
    assert "note: covariates-of-no-session: covariates are not told of the image's own" in told
    assert "(24 of 24: sub-01_ses-01, " in told
    assert [list(codes) for codes in table["notes"]] == [["covariates-of-no-session"]] * 24
    # The cards of models made of it tell how many, and name nobody.
    assert cohort.source["notes"] == {"covariates-of-no-session": 24}


def test_samples_of_sessions_go_through_the_line_and_are_counted_by_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort, _, _ = prepare(capsys, longitudinal(tmp_path / "b", 12), "--session", "all")
    run = tmp_path / "autoencoder"
    write_autoencoder(run)
    latents = write_latents(tmp_path / "latents", cohort, run)
    assert set(latents.table["participant_id"]) == set(cohort.table["participant_id"])
    items = RealVolumes.of(cohort).items
    few = cohort.people("validation")
    # Every session that was trained on may have been copied; a held-out person counts once.
    assert len([i for i in items if i["group"] == "train"]) == len(cohort.split("train"))
    held = [item["name"] for item in items if item["group"] == "validation"]
    assert len(held) == few
    assert all(name.endswith("_ses-01") for name in held)
    assert few < 10 <= len(cohort.split("validation"))
    with pytest.raises(Exception, match=f"{few} of 12 subjects are held out"):
        check_held_out(cohort)


def test_where_the_sessions_table_is_silent_the_participants_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b")
    text = f"session_id\tage\nses-01\t{71.5}\nses-02\tn/a\n"
    (bids / "sub-02" / "sub-02_sessions.tsv").write_text(text)
    cohort, _, _ = prepare(capsys, bids, "--session", "all")
    ages = dict(zip(cohort.table["participant_id"], cohort.table["age"], strict=True))
    assert ages["sub-02_ses-01"] == 71.5
    assert ages["sub-02_ses-02"] == people(4)["sub-02"]["age"]


def test_a_covariate_may_be_in_the_sessions_tables_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b")
    rows = {n: {k: v for k, v in row.items() if k != "age"} for n, row in people(4).items()}
    write_participants(bids, rows)
    cohort, _, _ = prepare(capsys, bids)
    assert list(cohort.table["age"]) == [row["age"] for row in people(4).values()]


def test_a_session_without_a_covariate_gives_way_to_one_that_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b", age=None)
    table = bids / "sub-03" / "sub-03_sessions.tsv"
    table.write_text("session_id\tage\nses-01\tn/a\nses-02\t44\n")
    cohort, said, told = prepare(capsys, bids)
    row = cohort.table.set_index("participant_id").loc["sub-03"]
    assert (row["session"], row["age"]) == ("ses-02", 44)
    assert "(ses-01: age is 'n/a': expected a finite number in year)" in said
    assert "note: another-image-unusable: " in told


def test_a_damaged_sessions_table_makes_its_participant_unusable_not_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b")
    (bids / "sub-01" / "sub-01_sessions.tsv").write_text("session,age\n1,50\n")
    twice = "session_id\tage\nses-01\t50\n01\t60\n"
    (bids / "sub-02" / "sub-02_sessions.tsv").write_text(twice)
    cohort, _, told = prepare(capsys, bids)
    assert list(cohort.table["participant_id"]) == ["sub-03", "sub-04"]
    assert (
        "unusable: sub-01: sub-01_sessions.tsv cannot be read: it has no column session_id\n"
    ) in told
    assert "sub-02: sub-02_sessions.tsv cannot be read: it has session ses-01 twice" in told


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_sessions_are_found_under_any_spelling(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "sub-01"
    folder.mkdir()
    text = 'session_id\tage\tnotes\r\n01\t50\t"größer\r\nses-B\t\tx\r\nses-c\t52\r\n'
    (folder / "sub-01_sessions.tsv").write_bytes(text.encode(encoding))
    found = read_sessions(folder)
    assert found.problem is None
    assert found.of("ses-01") == {"age": "50", "notes": '"größer'}
    assert (found.of("ses-b"), found.of("ses-C"), found.of("ses-9"), found.of(None)) == (
        {"notes": "x"},
        {"age": "52"},
        {},
        {},
    )
    assert found.columns == {"age", "notes"}


def test_a_session_is_named_with_or_without_its_prefix() -> None:
    assert [named(text) for text in (None, "all", "01", "ses-01")] == [
        *(None, "all", "ses-01", "ses-01")
    ]


def test_an_image_whose_voxels_are_cut_off_gives_way_and_is_not_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b")
    cut = bids / "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-1500])
    cohort, said, told = prepare(capsys, bids)
    row = cohort.table.set_index("participant_id").loc["sub-02"]
    assert row["session"] == "ses-02"
    assert row["age"] == people(4)["sub-02"]["age"] + 3
    # The volumes of participants.tsv are most likely of the first session.
    assert list(row["notes"]) == ["covariates-of-no-session", "another-image-unusable"]
    assert "chosen: sub-02: ses-02/anat/sub-02_ses-02_T1w.nii.gz (sub-02_ses-01_T1w" in said
    assert "note: another-image-unusable: " in told
    mark = bids.with_name("p") / "volumes" / "sub-02.json"
    before = mark.stat().st_mtime_ns
    again, said, _ = prepare(capsys, bids)
    assert "; nothing left to do\n" in said
    assert mark.stat().st_mtime_ns == before
    assert list(again.table["image"]) == list(cohort.table["image"])
    cut.write_bytes(whole)  # mended
    mended, _, _ = prepare(capsys, bids)
    assert mended.table.set_index("participant_id").loc["sub-02"]["session"] == "ses-01"


def test_where_every_image_is_broken_each_has_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b")
    for label in ("01", "02"):
        (bids / f"sub-02/ses-{label}/anat/sub-02_ses-{label}_T1w.nii.gz").write_bytes(b"")
    _, _, told = prepare(capsys, bids)
    empty = "unreadable image (an empty file (0 bytes))"
    assert (
        f"unusable: sub-02: sub-02_ses-01_T1w.nii.gz: {empty}; sub-02_ses-02_T1w.nii.gz: {empty}\n"
    ) in told


def test_a_folder_in_another_case_is_found_and_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b", sessions=["01"])
    rows = people(4)
    rows["sub-AB"] = rows.pop("sub-04")
    write_participants(bids, rows)
    for old, new in (("sub-04", "sub-ab"),):
        (bids / old).rename(bids / new)
        image = bids / new / "ses-01" / "anat" / f"{old}_ses-01_T1w.nii.gz"
        image.rename(image.with_name(f"{new}_ses-01_T1w.nii.gz"))
    cohort, _, told = prepare(capsys, bids)
    row = cohort.table.set_index("participant_id").loc["sub-AB"]
    assert row["image"].startswith("sub-ab/")
    assert list(row["notes"]) == ["folder-in-another-case"]
    assert "note: folder-in-another-case: " in told
    assert "(1 of 4: sub-AB)" in told


def test_the_fingerprint_is_that_of_a_cohort_of_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Models and latents of an earlier version go on: where an image lay is not what they see."""
    cohort, _, _ = prepare(capsys, longitudinal(tmp_path / "b"))
    before = PreparedCohort(
        folder=cohort.folder,
        grid=cohort.grid,
        schema=cohort.schema,
        table=cohort.table.drop(columns=["session", "image", "notes"]),
        source=cohort.source,
    )
    assert before.fingerprint == cohort.fingerprint


def test_doubtful_orientation_is_in_the_table_and_refused_under_affine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = longitudinal(tmp_path / "b", sessions=["01"])
    path = bids / "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz"
    image: Any = nib.load(path)
    image.header.set_sform(None, code=0)
    image.header.set_qform(None, code=0)
    nib.save(nib.Nifti1Image(head(3), None, image.header), path)
    cohort, _, told = prepare(capsys, bids)
    assert list(cohort.table["notes"][1]) == ["orientation-guess"]
    assert told == (
        "note: orientation-guess: left and right are a guess: neither qform nor sform says where "
        "they are (1 of 4: sub-02)\n"
    )
    assert read_json(cohort.folder / "cohort.json")["source"]["notes"] == {"orientation-guess": 1}
    _, _, again = prepare(capsys, bids)  # kept volumes are as doubtful
    assert again == told
    code, _, told = ended(
        capsys,
        *("prepare", bids, "--preset", "tiny", "--out", tmp_path / "q", "--placement", "affine"),
    )
    assert "unusable: sub-02: neither qform nor sform says where the image lies" in told
    assert code == 0
    assert "sub-02" not in list(PreparedCohort.open(tmp_path / "q").table["participant_id"])
