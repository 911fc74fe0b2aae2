"""Preparing cohorts of heads and brains, tilted and not: what the command says and leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ray_jobs.preparation.cohort import PreparedCohort
from tests.ldm.heads import turned
from tests.ldm.scalps import brain, head
from tests.ray_jobs.line import ended, image_path, people, write_participants

WORDS = ("--validation", "0", "--ranges", "schema")
PREPARE = (*WORDS, "--preset", "tiny")


pytestmark = pytest.mark.usefixtures("in_this_process")

Scan = tuple[np.ndarray, np.ndarray]


def tilted(scan: Scan, degrees: float) -> Scan:
    image, _ = turned(
        nib.Nifti1Image(*scan), seed=4, degrees=degrees, shift=15, sides=(2, 2, 2), axes="RAS"
    )
    return np.asarray(image.dataobj), image.affine


def write(folder: Path, *scans: Scan) -> Path:
    """A BIDS folder with these scans, by uint16 voxels."""
    folder.mkdir()
    rows = people(len(scans))
    write_participants(folder, rows)
    for name, (data, affine) in zip(rows, scans, strict=True):
        path = image_path(folder, name)
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(np.rint(data.clip(0)).astype(np.uint16), affine), path)
    return folder


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_by_default_a_tilted_brain_is_registered_and_the_cohort_lies_in_mni_space(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = write(tmp_path / "b", tilted(brain(), 25)), tmp_path / "p"
    code, said, told = ended(capsys, "prepare", bids, *PREPARE, "--out", out)
    assert (code, told) == (0, "")
    assert f"look at them: {out / 'previews' / 'prepared.png'}" in said
    with Image.open(out / "previews" / "prepared.png") as picture:
        assert picture.width > 200
    cohort = PreparedCohort.open(out)
    assert cohort.grid.space == "MNI152"
    assert cohort.source["placement"] == "register"
    (row,) = cohort.table.to_dict(orient="records")
    assert (row["shows"], row["turned"], row["shifted"], row["cut"]) == ("brain", 0, 0, 0)
    assert document(out / "volumes" / "sub-01.json")["inspection"]["kind"] == "brain"
    assert "space" not in document(out / "cohort.json")["grid"]


def test_a_centred_cohort_says_that_it_lies_in_no_templates_space_and_who_is_tilted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = write(tmp_path / "b", tilted(brain(), 25)), tmp_path / "p"
    words = ("prepare", bids, *PREPARE, "--placement", "centre", "--out", out)
    code, _, told = ended(capsys, *words)
    assert code == 0, told
    assert told.splitlines()[0].startswith("note: sub-01: tilted by 25 degrees")
    assert told.splitlines()[-1].startswith("note: 1 of 1 are used though doubtful: 1 tilted")
    cohort = PreparedCohort.open(out)
    assert (cohort.grid.space, cohort.source["placement"]) == ("centred", "centre")
    about = document(out / "cohort.json")
    assert about["grid"]["space"] == "centred"
    assert about["told"][0]["participant_id"] == "sub-01"
    again = ended(capsys, *words)
    assert again[0] == 0
    assert "; nothing left to do\n" in again[1]
    assert again[2] == told


def test_an_affine_is_believed_of_who_lies_in_mni_space_and_refused_of_who_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = write(tmp_path / "b", brain(), tilted(brain(), 20)), tmp_path / "p"
    code, said, told = ended(
        capsys, "prepare", bids, *PREPARE, "--placement", "affine", "--out", out
    )
    assert code == 0, told
    assert told.startswith("unusable: sub-02: lies 20 degrees and ")
    assert told.endswith("which --placement affine trusts: --placement register\n")
    assert "2 subjects: 1 prepared now, 0 already there" in said
    cohort = PreparedCohort.open(out)
    assert list(cohort.table["participant_id"]) == ["sub-01"]
    assert cohort.grid.space == "MNI152"
    assert not (out / "volumes" / "sub-02.npy").exists()
    assert (out / "refused" / "sub-02.npy").exists()


@pytest.mark.parametrize("scan", [head, lambda: head(face=False)], ids=["with a face", "defaced"])
def test_a_cohort_of_heads_on_a_grid_for_brains_is_refused_with_what_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scan: Callable[[], Scan]
) -> None:
    bids, out = write(tmp_path / "b", scan()), tmp_path / "p"
    words = ("prepare", bids, *PREPARE, "--placement", "affine", "--out", out)
    code, _, told = ended(capsys, *words)
    assert code == 1
    lines = told.splitlines()
    assert lines[0].startswith("unusable: sub-01: a whole head, skull included, on a grid for br")
    assert "--skull-strip, or --preset paper for a model of heads" in lines[0]
    assert lines[1].startswith(
        "brainpress prepare: none of the 1 subjects can be used: 1 whole head, as sub-01: a whole"
    )
    assert (out / "previews" / "prepared.png").exists()
    assert not (out / "cohort.json").exists()
    # What was found out of a scan that is the same is not found out again.
    made = (out / "refused" / "sub-01.npy").stat().st_mtime_ns
    assert ended(capsys, *words)[2] == told
    assert (out / "refused" / "sub-01.npy").stat().st_mtime_ns == made


def test_heads_and_brains_are_not_mixed_until_the_heads_are_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = write(tmp_path / "b", brain(), head()), tmp_path / "p"
    words = ("prepare", bids, *PREPARE, "--placement", "affine", "--out", out)
    code, _, told = ended(capsys, *words)
    assert code == 1
    assert told.splitlines()[-1].startswith(
        "brainpress prepare: 1 whole head and 1 brain without skull in one cohort (whole heads: "
        "sub-02), and no model of both is right"
    )
    assert not (out / "cohort.json").exists()
    code, said, told = ended(capsys, *words, "--max-unusable", 1)
    assert code == 0, told
    assert "1 subjects to train on, 0 held out, 1 unusable\n" in said
    data, affine = brain()
    nib.save(nib.Nifti1Image(np.rint(data).astype(np.uint16), affine), image_path(bids, "sub-02"))
    code, said, told = ended(capsys, *words)
    assert (code, told) == (0, "")
    assert "2 subjects: 1 prepared now, 1 already there" in said
    assert not list((out / "refused").iterdir())


def test_a_virtual_cohort_is_placed_as_it_was_made_without_a_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p"
    words = ("prepare", "--cohort", "virtual", "--n", 2, *PREPARE, "--out", out)
    code, _, told = ended(capsys, *words)
    assert code == 0
    assert all("drawing people" in line for line in told.splitlines())
    cohort = PreparedCohort.open(out)
    assert (cohort.grid.space, "placement" in cohort.source) == ("MNI152", False)
    assert document(out / "run.json")["placement"] == "centre"
    assert "shows" not in cohort.table.columns
    assert (out / "previews" / "prepared.png").exists()
