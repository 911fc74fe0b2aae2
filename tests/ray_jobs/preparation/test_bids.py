"""Finding the subjects of a BIDS folder: their images, their covariates, or why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm.covariates import PAPER_SCHEMA
from ray_jobs.errors import JobError
from ray_jobs.preparation.bids.subjects import Subject, find_subjects, in_validation
from tests.ray_jobs.line import people, write_participants


def bids(folder: Path, rows: Mapping[str, Mapping[str, Any]], *images: str) -> Path:
    """A BIDS folder whose images are empty files."""
    folder.mkdir(exist_ok=True)
    write_participants(folder, rows)
    for image in images:
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def found(folder: Path) -> dict[str, Subject]:
    return {s.participant_id: s for s in find_subjects(folder, PAPER_SCHEMA)}


def test_every_participant_and_every_folder_is_a_subject_in_the_order_of_the_ids(
    tmp_path: Path,
) -> None:
    rows = people(3)
    folder = bids(tmp_path / "b", dict(reversed(rows.items())), "sub-99/anat/sub-99_T1w.nii.gz")
    subjects = find_subjects(folder, PAPER_SCHEMA)
    assert [s.participant_id for s in subjects] == ["sub-01", "sub-02", "sub-03", "sub-99"]
    assert [s.reason for s in subjects] == [*["no T1w image"] * 3, "not in participants.tsv"]


def test_covariates_are_numbers_and_levels_and_other_columns_do_not_matter(tmp_path: Path) -> None:
    rows = {"sub-01": {**people(1)["sub-01"], "sex": "female", "handedness": "left"}}
    folder = bids(tmp_path / "b", rows, "sub-01/anat/sub-01_T1w.nii.gz")
    subject = found(folder)["sub-01"]
    assert subject.reason is None
    assert subject.covariates == {
        "sex": "F",
        **{name: float(rows["sub-01"][name]) for name in PAPER_SCHEMA.names if name != "sex"},
    }
    assert subject.image == folder / "sub-01/anat/sub-01_T1w.nii.gz"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "age is 'n/a': expected a finite number in year"),
        ("", "age is '': expected a finite number in year"),
        ("nan", "age is 'nan': expected a finite number in year"),
        (np.inf, "age is 'inf': expected a finite number in year"),
        ("60+", "age is '60+': expected a finite number in year"),
    ],
)
def test_a_covariate_that_is_no_number_is_the_reason(
    tmp_path: Path, value: object, reason: str
) -> None:
    row = {**people(1)["sub-01"], "age": value}
    folder = bids(tmp_path / "b", {"sub-01": row}, "sub-01/anat/sub-01_T1w.nii.gz")
    assert found(folder)["sub-01"].reason == reason


def test_an_image_may_lie_in_a_session_and_be_uncompressed(tmp_path: Path) -> None:
    folder = bids(tmp_path / "b", people(1), "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii")
    assert found(folder)["sub-01"].image == folder / "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii"


def test_of_several_images_the_first_by_name_is_taken(tmp_path: Path) -> None:
    names = [f"sub-01/ses-{n}/anat/sub-01_ses-{n}_T1w.nii.gz" for n in (2, 1)]
    folder = bids(tmp_path / "b", people(1), *names)
    assert found(folder)["sub-01"].image == folder / names[1]


def test_what_only_looks_like_an_image_is_none(tmp_path: Path) -> None:
    """A half-written file's side name, macOS's shadow of a file, a digest, another contrast."""
    folder = bids(
        tmp_path / "b",
        people(2),
        "sub-01/anat/.sub-01_T1w.nii.gz.4711",
        "sub-01/anat/._sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w.nii.gz.md5",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-02/anat/._sub-02_T1w.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
    )
    subjects = found(folder)
    assert subjects["sub-01"].reason == "no T1w image"
    assert subjects["sub-02"].image == folder / "sub-02/anat/sub-02_T1w.nii.gz"


def test_the_table_may_leave_out_the_prefix_sub(tmp_path: Path) -> None:
    folder = bids(tmp_path / "b", {"01": people(1)["sub-01"]}, "sub-01/anat/sub-01_T1w.nii.gz")
    assert {name: s.reason for name, s in found(folder).items()} == {"sub-01": None}


@pytest.mark.parametrize("doubled", ["sub-01", "01"])
def test_a_participant_with_two_rows_is_refused(tmp_path: Path, doubled: str) -> None:
    folder = bids(tmp_path / "b", people(2))
    with (folder / "participants.tsv").open("a") as table:
        table.write(f"{doubled}\t50\tF\t20000\t1500000\n")
    with pytest.raises(JobError, match="has participant sub-01 twice; expected one row each"):
        found(folder)


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    rows = {name: {"age": row["age"], "sex": row["sex"]} for name, row in people(2).items()}
    with pytest.raises(
        JobError,
        match=r"has no column ventricular_volume, brain_volume; it has participant_id, age, sex\. "
        "Add it, or name other covariates with --covariates",
    ):
        found(bids(tmp_path / "b", rows))


def test_a_folder_that_is_no_bids_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="nobody: no such folder; expected a BIDS dataset"):
        found(tmp_path / "nobody")
    with pytest.raises(JobError, match=r"has no participants\.tsv; expected a BIDS dataset"):
        found(tmp_path)
    (tmp_path / "participants.tsv").touch()
    with pytest.raises(JobError, match=r"participants\.tsv cannot be read: "):
        found(tmp_path)
    (tmp_path / "participants.tsv").write_text("\t".join(["participant_id", *PAPER_SCHEMA.names]))
    with pytest.raises(JobError, match=r"has no sub-\* folder and no participant"):
        found(tmp_path)


def test_a_participant_is_held_out_by_the_id_alone() -> None:
    names = [f"sub-{number:04d}" for number in range(2000)]
    held_out = {name for name in names if in_validation(name, 0.1)}
    assert len(held_out) == pytest.approx(200, abs=40)
    assert not any(in_validation(name, 0.0) for name in names)
    wider = {name for name in names if in_validation(name, 0.2)}
    assert held_out < wider  # a larger share never sends anybody back
    # Known for good: on any machine, in any version.
    assert [n for n in names[:30] if n in held_out] == [
        "sub-0007",
        "sub-0010",
        "sub-0023",
        "sub-0024",
    ]
