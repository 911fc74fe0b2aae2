"""Whose a row of participants.tsv is, where its id is not written as the folder's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_jobs.preparation.bids.identity import places, spelling
from ray_jobs.preparation.cohort import PreparedCohort
from tests.ray_jobs.line import ended, people, write_bids, write_participants

WORDS = ("--preset", "tiny", "--placement", "centre", "--validation", "0", "--ranges", "schema")


@pytest.mark.parametrize(
    ("written", "folder"),
    [
        ("sub-1", "sub-01"),
        ("sub-001", "sub-1"),
        ("sub-sub01", "sub-01"),
        ("sub-NDAR_INV0AB7", "sub-NDARINV0AB7"),
        ("sub-002_S_0413", "sub-002S0413"),
        ("sub-ixi-002", "sub-IXI002"),
    ],
)
def test_an_id_that_differs_in_zeros_case_or_punctuation_finds_its_folder(
    written: str, folder: str
) -> None:
    assert places({written}, {folder}) == {written: folder}


@pytest.mark.parametrize(
    ("rows", "folders"),
    [
        ({"sub-1"}, {"sub-01", "sub-001"}),
        ({"sub-1", "sub-001"}, {"sub-01"}),
        ({"sub-1", "sub-01"}, {"sub-01"}),  # that folder is somebody else's
        ({"sub-1"}, {"sub-1", "sub-01"}),
        ({"sub-1"}, {"sub-10"}),
        ({"sub-1"}, {"sub-11"}),
        ({"sub-A"}, {"sub-B"}),
    ],
)
def test_where_two_might_fit_or_none_does_nothing_is_guessed(
    rows: set[str], folders: set[str]
) -> None:
    assert places(rows, folders) == {}


IDS = st.sets(st.from_regex(r"sub-[0aB1_]{1,4}", fullmatch=True), max_size=8)


@given(rows=IDS, folders=IDS)
def test_a_folder_goes_to_one_participant_and_none_loses_its_own(
    rows: set[str], folders: set[str]
) -> None:
    found = places(rows, folders)
    assert len(set(found.values())) == len(found)
    assert not found.keys() & folders
    assert not set(found.values()) & rows
    assert all(spelling(name) == spelling(place) for name, place in found.items())


@pytest.mark.usefixtures("in_this_process", "seen_as_fine")
def test_numbers_that_a_spreadsheet_robbed_of_their_zeros_are_matched_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = write_bids(tmp_path / "bids", 3), tmp_path / "p"
    rows = people(3)
    write_participants(bids, {str(n): row for n, row in enumerate(rows.values(), start=1)})
    code, said, told = ended(capsys, "prepare", bids, *WORDS, "--out", out)
    assert code == 0, told
    assert said.startswith(
        "participants.tsv: sub-1 is taken for the folder sub-01, and 2 more alike: they differ in "
        "zeros or punctuation alone, and no other fits\n"
    )
    assert "note: folder-in-another-spelling: " in told
    table = PreparedCohort.open(out).table
    assert list(table["age"]) == [row["age"] for row in rows.values()]
    assert table["image"][0].startswith("sub-01/")


@pytest.mark.usefixtures("in_this_process", "seen_as_fine")
def test_a_mismatch_that_is_not_mended_names_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = write_bids(tmp_path / "bids", 2)
    row = people(1)["sub-01"]
    write_participants(bids, {"1": row, "001": row})
    code, said, told = ended(capsys, "prepare", bids, *WORDS, "--out", tmp_path / "p")
    assert code == 1
    assert (
        "participants.tsv: no folder is named after any of its 2 participants: it has sub-001, "
        "sub-1, the folders are sub-01, sub-02; write the one as the other\n"
    ) in said
    assert "unusable: sub-01: not in participants.tsv, which has sub-001, sub-1; write" in told


@pytest.mark.usefixtures("in_this_process", "seen_as_fine")
@pytest.mark.parametrize(
    ("name", "code"),
    [("ce-gadolinium", "contrast-enhanced"), ("inv-1", "part-of-an-image")],
)
def test_a_lone_image_that_would_come_last_is_used_and_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: str
) -> None:
    bids, out = write_bids(tmp_path / "bids", 2), tmp_path / "p"
    image = bids / "sub-02" / "anat" / "sub-02_T1w.nii.gz"
    image.rename(image.with_name(f"sub-02_{name}_T1w.nii.gz"))
    ended_with, _, told = ended(capsys, "prepare", bids, *WORDS, "--out", out)
    assert ended_with == 0, told
    assert told.startswith(f"note: {code}: the image is ")
    assert told.endswith("(1 of 2: sub-02)\n")
    assert json.loads((out / "cohort.json").read_text())["source"]["notes"] == {code: 1}
    assert list(PreparedCohort.open(out).table["notes"][1]) == [code]
