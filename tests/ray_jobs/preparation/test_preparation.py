"""Preparing a cohort, without Ray: volumes, reasons, marks, tables and wrong inputs."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ldm.training.presets import tiny
from ray_jobs import cli
from ray_jobs.command_line import command_line
from ray_jobs.errors import JobError
from ray_jobs.files import read_json, write_json
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.preparation.job import parse_limit
from ray_jobs.preparation.options import Work
from ray_jobs.preparation.subject import kept, prepare_subject, recipe
from tests.ray_jobs.line import (
    SHARE,
    ended,
    head,
    people,
    refused,
    without_ray,
    write_bids,
    write_image,
    write_participants,
    write_prepared,
)

GRID = tiny().grid


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)


def prepared(image: Path, volumes: Path) -> dict[str, Any]:
    volumes.mkdir(exist_ok=True)
    return prepare_subject("sub-01", image, volumes, GRID, Work(placement="centre"))


def reason(tmp_path: Path, data: np.ndarray) -> str:
    image = write_image(tmp_path / "x_T1w.nii.gz", data)
    outcome = prepared(image, tmp_path / "volumes")
    assert list(tmp_path.glob("volumes/*")) == []
    return str(outcome["reason"])


# ------------------------------------------------------------------------------------ a subject


def test_a_volume_is_12_bit_on_the_grid_with_its_digest_as_mark(tmp_path: Path) -> None:
    outcome = prepared(write_image(tmp_path / "a.nii.gz", head(1)), tmp_path / "v")
    volume = np.load(tmp_path / "v" / "sub-01.npy")
    assert (volume.shape, volume.dtype, volume.min(), volume.max()) == (GRID.shape, "u2", 0, 4095)
    mark = read_json(tmp_path / "v" / "sub-01.json")
    assert mark is not None
    assert outcome == {"sha256": mark["sha256"], "redone": True}


def test_the_same_image_turned_or_mirrored_on_disk_gives_the_same_volume(tmp_path: Path) -> None:
    """To RAS: the affine says where the voxels are, not the order they are written in."""
    image = nib.Nifti1Image(head(1), np.diag([9.0, 9, 9, 1]))
    digests = set()
    for number, axes in enumerate(("RAS", "LPI", "PSR")):
        turn = nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
        )
        path = tmp_path / f"{number}.nii.gz"
        nib.save(image.as_reoriented(turn), path)
        assert nib.aff2axcodes(nib.load(path).affine) == tuple(axes)
        digests.add(prepared(path, tmp_path / "v")["sha256"])
    assert len(digests) == 1


def test_an_image_of_four_dimensions_is_unusable(tmp_path: Path) -> None:
    assert "a 4-D image (18 x 22 x 18 x 2), expected 3-D" in reason(
        tmp_path, np.stack([head(1)] * 2, axis=-1)
    )


def test_an_empty_volume_is_unusable(tmp_path: Path) -> None:
    assert reason(tmp_path, np.zeros((18, 22, 18), np.uint8)).startswith("empty volume")


def test_voxels_that_are_not_numbers_are_unusable(tmp_path: Path) -> None:
    data = head(1).astype(np.float32)
    data[9, 9, 9] = np.nan
    assert reason(tmp_path, data) == "voxels that are not finite numbers"


def test_a_truncated_image_and_one_that_is_none_are_unusable(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a_T1w.nii.gz", head(1))
    image.write_bytes(image.read_bytes()[:-200])
    assert prepared(image, tmp_path / "v")["reason"].startswith("unreadable image (")
    image.write_bytes(gzip.compress(b"not an image"))
    assert prepared(image, tmp_path / "v")["reason"].startswith("unreadable image (")
    image.unlink()
    image.symlink_to(tmp_path / "nowhere")  # as in a dataset whose content was not fetched
    assert prepared(image, tmp_path / "v")["reason"] == (
        "unreadable image (No such file or directory)"
    )


def test_an_image_that_becomes_unusable_takes_its_volume_with_it(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a_T1w.nii.gz", head(1))
    prepared(image, tmp_path / "v")
    write_image(image, np.zeros((18, 22, 18), np.uint8))
    prepared(image, tmp_path / "v")
    assert list((tmp_path / "v").iterdir()) == []


def test_a_volume_is_kept_until_its_image_or_the_recipe_changes(tmp_path: Path) -> None:
    image, volumes = write_image(tmp_path / "a.nii.gz", head(1)), tmp_path / "v"

    def there(grid: Any = GRID, placement: str = "centre") -> dict[str, Any] | None:
        return kept("sub-01", image, volumes, grid, Work(placement=placement))

    assert there() is None
    outcome = prepared(image, volumes)
    assert there() == {**outcome, "redone": False}
    assert there(placement="affine") is None
    assert there(grid=type(GRID)(shape=GRID.shape, spacing=9.0)) is None
    os.utime(image, ns=(0, 0))
    assert there() is None
    prepared(image, volumes)
    write_image(image, head(2))
    assert there() is None
    prepared(image, volumes)
    os.truncate(volumes / "sub-01.npy", 5000)
    assert there() is None
    prepared(image, volumes)
    (volumes / "sub-01.npy").unlink()
    assert there() is None
    prepared(image, volumes)
    (volumes / "sub-01.json").write_text("{")
    assert there() is None
    image.unlink()
    assert there() is None


def test_the_recipe_is_known_for_good() -> None:
    """Another value redoes every cohort out there: only with a new RECIPE_VERSION."""
    plain = recipe(GRID, Work(placement="centre"))
    assert plain[:16] == "eb97b4daad149524"
    others = [
        Work(placement="affine"),
        Work(placement="register"),
        Work(placement="centre", skull_strip=True),
        Work(placement="centre", measure="atlas"),
        Work(placement="centre", measure="synthseg"),
        Work(placement="centre", head_scale=True),
    ]
    assert len({plain, *(recipe(GRID, work) for work in others)}) == 7


# ------------------------------------------------------------------------------------- a cohort


def test_a_cohort_comes_back_and_its_fingerprint_is_of_what_training_sees(tmp_path: Path) -> None:
    cohort = write_prepared(tmp_path / "p")
    again = PreparedCohort.open(tmp_path / "p")
    assert again.fingerprint == cohort.fingerprint
    assert again.source == cohort.source
    for name, held_out in (("train", False), ("validation", True)):
        rows = again.split(name)
        assert len(rows) == (5 if held_out else 7)
        assert [path.stem for path in again.volumes(name)] == list(rows["participant_id"])
    other = write_prepared(tmp_path / "q", source={"kind": "elsewhere"})
    assert other.fingerprint == cohort.fingerprint
    table = cohort.table.assign(age=cohort.table["age"] + 1)
    assert write_prepared(tmp_path / "r", table=table).fingerprint != cohort.fingerprint


def test_a_cohort_is_written_once(tmp_path: Path) -> None:
    cohort = write_prepared(tmp_path / "p")
    assert not cohort.write([])
    assert cohort.write([{"participant_id": "sub-99", "reason": "no T1w image"}])
    assert not cohort.write([{"participant_id": "sub-99", "reason": "no T1w image"}])
    (tmp_path / "p" / "subjects.parquet").write_bytes(b"damaged")
    assert cohort.write([{"participant_id": "sub-99", "reason": "no T1w image"}])


def test_a_cohort_that_is_not_complete_is_refused(tmp_path: Path) -> None:
    folder = write_prepared(tmp_path / "p").folder
    (folder / "volumes" / "sub-03.npy").unlink()
    with pytest.raises(JobError, match=r"sub-03\.npy is missing or cut short; run brainpress"):
        PreparedCohort.open(folder)
    (folder / "subjects.parquet").unlink()
    with pytest.raises(JobError, match=r"subjects\.parquet is missing or damaged; run brainpress"):
        PreparedCohort.open(folder)
    (folder / "cohort.json").unlink()
    with pytest.raises(JobError, match=r"holds no complete prepared cohort \(no cohort\.json\)"):
        PreparedCohort.open(folder)


@pytest.mark.parametrize(
    ("text", "of_40"), [("0", 0), ("3", 3), ("5%", 2), ("2.5%", 1), ("100%", 40)]
)
def test_a_limit_is_a_count_or_a_share(text: str, of_40: int) -> None:
    assert parse_limit(text)(40) == of_40


# --------------------------------------------------------------------------------- the command


def test_all_volumes_there_means_no_ray_and_nothing_left_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prepared(tmp_path / "p")
    words = [
        *("prepare", tmp_path / "p-bids", "--preset", "tiny", "--validation", SHARE),
        *("--placement", "centre"),
        *("--out", tmp_path / "p"),
    ]
    code, said, told = ended(capsys, *words)
    assert (code, told) == (0, "")
    assert "12 subjects: 0 prepared now, 12 already there" in said
    assert "7 subjects to train on, 5 held out, 0 unusable" in said
    before = (tmp_path / "p" / "cohort.json").stat().st_mtime_ns
    code, said, told = ended(capsys, *words, "--workers", 2)
    assert (code, told) == (0, "")
    assert "; nothing left to do\n" in said
    assert (tmp_path / "p" / "cohort.json").stat().st_mtime_ns == before


def test_other_covariates_and_splits_need_no_volume_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prepared(tmp_path / "p")
    schema = {
        "covariates": [
            {"name": "sex", "kind": "categorical", "levels": ["F", "M"]},
            {"name": "age", "unit": "year", "kind": "continuous", "minimum": 0, "maximum": 100},
        ]
    }
    write_json(tmp_path / "schema.json", schema)
    code, said, _ = ended(
        capsys,
        *("prepare", tmp_path / "p-bids", "--preset", "tiny", "--out", tmp_path / "p"),
        *("--placement", "centre"),
        *("--covariates", tmp_path / "schema.json", "--ranges", "schema", "--validation", 0),
    )
    assert (code, "12 subjects to train on, 0 held out" in said) == (0, True)
    cohort = PreparedCohort.open(tmp_path / "p")
    assert cohort.schema.names == ("sex", "age")
    assert cohort.schema["age"].maximum == 100
    assert list(cohort.table.columns[4:]) == ["sex", "age", "session", "image", "notes"]


def test_by_default_ranges_are_the_cohorts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prepared(tmp_path / "p")
    words = ("prepare", tmp_path / "p-bids", "--preset", "tiny", "--placement", "centre")
    ended(capsys, *words, "--out", tmp_path / "p")
    cohort = PreparedCohort.open(tmp_path / "p")
    ages = cohort.table["age"]
    assert cohort.schema["age"].minimum <= ages.min() < ages.max() <= cohort.schema["age"].maximum
    assert cohort.schema["age"].maximum - cohort.schema["age"].minimum < 1.1 * (
        ages.max() - ages.min()
    )


def test_another_cohort_grid_or_placement_in_the_same_out_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prepared(tmp_path / "p")
    words = ("prepare", tmp_path / "p-bids", "--out", tmp_path / "p")
    centred = (*words, "--placement", "centre")
    assert ended(capsys, *centred, "--preset", "tiny")[0] == 0
    told = refused(capsys, *centred)
    assert "p holds another run: grid.shape [16, 24, 16] -> [64, 80, 64]; grid.spacing" in told
    told = refused(capsys, *words, "--preset", "tiny", "--placement", "affine")
    assert "holds another run: placement 'centre' -> 'affine'." in told
    told = refused(capsys, *words, "--preset", "tiny")
    assert "holds another run: placement 'centre' -> 'register'." in told
    shutil.copytree(tmp_path / "p-bids", tmp_path / "other-bids")
    told = refused(
        capsys,
        *("prepare", tmp_path / "other-bids", "--preset", "tiny", "--placement", "centre"),
        *("--out", tmp_path / "p"),
    )
    assert "holds another run: dataset 'p-bids' -> 'other-bids'." in told
    assert PreparedCohort.open(tmp_path / "p").source["name"] == "p-bids"


def test_a_cohort_that_does_not_vary_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prepared(tmp_path / "p")
    rows = {name: {**row, "age": 40} for name, row in people(12).items()}
    write_participants(tmp_path / "p-bids", rows)
    words = (
        *("prepare", tmp_path / "p-bids", "--preset", "tiny", "--placement", "centre"),
        *("--out", tmp_path / "p"),
    )
    code, _, told = ended(capsys, *words)
    assert (code, told) == (
        2,
        "brainpress prepare: covariate age is 40 throughout the cohort: expected it to vary\n",
    )


def test_nobody_usable_is_exit_1_with_every_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = write_bids(tmp_path / "b", 2)
    write_participants(bids, {name: {**row, "age": None} for name, row in people(2).items()})
    code, said, told = ended(capsys, "prepare", bids, "--preset", "tiny", "--out", tmp_path / "p")
    assert (code, said) == (1, "2 subjects: 0 prepared now, 0 already there\n")
    assert told.splitlines() == [
        "unusable: sub-01: age is 'n/a': expected a finite number in year",
        "unusable: sub-02: age is 'n/a': expected a finite number in year",
        "brainpress prepare: none of the 2 subjects can be used",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--cohort", "virtual", "--n", "3", "--out", "s3://bucket/p"],
            "--out s3://bucket/p: the images of a virtual cohort are made in a folder",
        ),
        ([], "the following arguments are required: --out"),
        (["--out", "p"], "give a BIDS folder, or --cohort virtual without one"),
        (["bids", "--cohort", "virtual", "--out", "p"], "give a BIDS folder, or --cohort virtual"),
        (["nobody", "--out", "p"], "nobody: no such folder; expected a BIDS dataset"),
        (["bids", "--out", "bids/participants.tsv"], "is a file; expected a folder"),
        (
            ["bids", "--out", "p", "--preset", "huge"],
            "preset 'huge': expected one of demo, lab",
        ),
        (["bids", "--out", "p", "--validation", "1"], "--validation 1.0: expected a share from 0"),
        (["bids", "--out", "p", "--validation", "nan"], "--validation nan: expected a share"),
        (["bids", "--out", "p", "--workers", "0"], "--workers 0: expected at least 1"),
        (["--cohort", "virtual", "--n", "0", "--out", "p"], "--n 0: expected at least 1"),
        (["--cohort", "virtual", "--seed", "-1", "--out", "p"], "--seed -1: expected at least 0"),
        (["bids", "--out", "p", "--max-unusable", "few"], "few: expected a count such as 3 or"),
        (["bids", "--out", "p", "--max-unusable=-1"], "expected a count such as 3 or a share"),
        (["bids", "--out", "p", "--covariates", "none.json"], "none.json: expected a JSON file"),
        (["bids", "--out", "p", "--covariates", "bad.json"], "bad.json: covariate age: kind 'x'"),
        (["bids", "--out", "p", "--cohort", "real"], "--cohort: invalid choice: 'real'"),
        (["bids", "--out", "p", "--placment", "affine"], "did you mean '--placement'?"),
    ],
)
def test_a_wrong_option_or_folder_gets_one_line_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bids(tmp_path / "bids", 2)
    (tmp_path / "bad.json").write_text(json.dumps({"covariates": [{"name": "age", "kind": "x"}]}))
    assert message in refused(capsys, "prepare", *words)
    assert not (tmp_path / "p").exists()


def test_a_card_tells_the_command_without_this_machines_paths() -> None:
    def told(*words: str) -> str:
        args: argparse.Namespace = cli.parser_of(words[0]).parse_args(list(words[1:]))
        return command_line(words[0], args)

    assert told("prepare", "/home/me/ixi/", "--out", "/scratch/p", "--validation", "0.2") == (
        "brainpress prepare ixi --validation 0.2 --out prepared"
    )
    assert told("prepare", "--cohort", "virtual", "--n", "12", "--out", "p", "--workers", "2") == (
        "brainpress prepare --cohort virtual --n 12 --out prepared"
    )
    assert told("train-autoencoder", "--cohort=/x/p", "--out=/x/a", "--steps=9", "--gpu") == (
        "brainpress train-autoencoder --cohort prepared --steps 9 --out autoencoder"
    )
    assert told("encode-latents", "--cohort", "/x", "--autoencoder", "/y", "--out", "/z") == (
        "brainpress encode-latents --cohort prepared --autoencoder autoencoder --out latents"
    )
    assert told(
        *("train-diffusion", "--latents", "/x", "--out", "/y", "--description", "of two words"),
        *("--demonstration", "--retries", "9"),
    ) == (
        "brainpress train-diffusion --latents latents --description 'of two words' "
        "--demonstration --out diffusion"
    )
