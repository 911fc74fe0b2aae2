"""The virtual cohort: different people, true volumes, ties as in a real cohort, safe on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ldm.anatomy.virtual.cohort import write_bids_cohort
from ldm.anatomy.virtual.subject import (
    BACKGROUND,
    CSF,
    GREY,
    VENTRICLE,
    WHITE,
    Subject,
    make_subject,
    plan_subject,
)
from ldm.covariates import PAPER_SCHEMA
from ldm.errors import LdmError
from ldm.volumes.grid import Grid

GRID = Grid(shape=(40, 48, 40), spacing=4.0)


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    return [make_subject((0, i), GRID) for i in range(50)]


def voxels(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map."""
    return np.asarray(subject.image.dataobj), np.asarray(subject.labels.dataobj)


def test_a_seed_is_one_person_and_another_seed_another(subjects: list[Subject]) -> None:
    again, labels = voxels(make_subject((0, 3), GRID))
    assert np.array_equal(again, voxels(subjects[3])[0])
    assert np.array_equal(labels, voxels(subjects[3])[1])
    other = voxels(subjects[4])[1]
    overlap = (labels == GREY) & (other == GREY)
    assert overlap.sum() < 0.7 * (labels == GREY).sum()


def test_volumes_are_counted_from_the_label_map(subjects: list[Subject]) -> None:
    subject = subjects[0]
    labels = voxels(subject)[1]
    ventricles, tissue = (labels == VENTRICLE).sum(), np.isin(labels, (GREY, WHITE)).sum()
    assert subject.covariates["ventricular_volume"] == ventricles * 64
    normalised = tissue / (labels > 0).sum() * 1_431_000
    assert subject.covariates["brain_volume"] == pytest.approx(normalised, abs=1)
    assert PAPER_SCHEMA.validate(subject.covariates) == subject.covariates


def test_the_same_person_at_another_grid_has_the_same_volumes(subjects: list[Subject]) -> None:
    fine = make_subject((0, 1), Grid(shape=(80, 96, 80), spacing=2.0)).covariates
    coarse = subjects[1].covariates
    assert (fine["age"], fine["sex"]) == (coarse["age"], coarse["sex"])
    assert fine["ventricular_volume"] == pytest.approx(coarse["ventricular_volume"], rel=0.1)
    assert fine["brain_volume"] == pytest.approx(coarse["brain_volume"], rel=0.005)


def test_images_have_t1w_contrast_and_nothing_beyond_the_brain(subjects: list[Subject]) -> None:
    for subject in subjects[:10]:
        image, labels = voxels(subject)
        assert image.dtype == np.uint8
        assert not image[labels == BACKGROUND].any()
        assert image[labels != BACKGROUND].all()
        mean = {kind: image[labels == kind].mean() for kind in (CSF, GREY, WHITE, VENTRICLE)}
        assert mean[CSF] + 30 < mean[GREY] < mean[WHITE] - 30
        assert mean[VENTRICLE] < mean[GREY] - 40
        assert np.allclose(subject.image.affine, GRID.affine)


def test_ventricles_are_one_dark_deep_place_in_the_middle_of_the_head(
    subjects: list[Subject],
) -> None:
    for subject in subjects[:10]:
        labels = voxels(subject)[1]
        head, inner = np.argwhere(labels > 0), np.argwhere(labels == VENTRICLE)
        assert np.abs(inner.mean(axis=0) - head.mean(axis=0)).max() * 4 < 20
        assert (inner.min(axis=0) > head.min(axis=0)).all()
        assert (inner.max(axis=0) < head.max(axis=0)).all()


def test_the_cohort_is_tied_together_like_a_real_one(subjects: list[Subject]) -> None:
    table = pd.DataFrame([subject.covariates for subject in subjects])
    ties = table[["age", "ventricular_volume", "brain_volume"]].corr("spearman")
    assert 0.35 < ties.loc["age", "ventricular_volume"] < 0.8
    assert -0.95 < ties.loc["age", "brain_volume"] < -0.6
    assert -0.9 < ties.loc["ventricular_volume", "brain_volume"] < -0.4
    assert 10_000 < table["ventricular_volume"].median() < 20_000
    assert table["ventricular_volume"].max() > 2.5 * table["ventricular_volume"].median()
    assert table["brain_volume"].between(1.05e6, 1.35e6).all()


def test_plans_have_the_margins_of_healthy_adults() -> None:
    plans = pd.DataFrame([plan_subject(np.random.default_rng(i)) for i in range(1500)])
    assert plans["age"].between(20, 82).all()
    assert plans["age"].std() > 15
    heads = plans.groupby("sex")["intracranial"].mean()
    assert heads["M"] / heads["F"] == pytest.approx(1.154, abs=0.03)
    assert (plans["sex"] == "M").mean() == pytest.approx(0.47, abs=0.04)
    assert 0.4 < plans["age"].corr(plans["ventricles"], "spearman") < 0.65


def test_what_was_planned_is_what_is_found(subjects: list[Subject]) -> None:
    plans = [plan_subject(np.random.default_rng((0, i))) for i in range(len(subjects))]
    found = [float(s.covariates["ventricular_volume"]) for s in subjects]
    assert np.corrcoef([p.ventricles for p in plans], found)[0, 1] > 0.9
    for plan, subject in zip(plans, subjects, strict=True):
        share = float(subject.covariates["brain_volume"]) / 1_431_000
        assert share == pytest.approx(plan.tissue_share, abs=0.002)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bids_cohort(tmp_path_factory.mktemp("cohort"), 5, seed=1, grid=GRID)


def test_a_written_cohort_is_valid_bids(cohort: Path) -> None:
    beside = Path(sys.executable).with_name("bids-validator-deno")
    validator = [str(beside), str(cohort), "--max-rows", "-1", "--json"]
    outcome = subprocess.run(validator, capture_output=True, text=True, check=False)
    issues = json.loads(outcome.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    table = pd.read_csv(cohort / "participants.tsv", sep="\t")
    assert list(table["participant_id"]) == [f"sub-V{i:04d}" for i in range(1, 6)]
    assert set(PAPER_SCHEMA.names) < set(table.columns)
    assert "McGill" in (cohort / "LICENSE").read_text()


def test_a_cohort_stopped_and_taken_up_again_has_the_same_bytes(
    cohort: Path, tmp_path: Path
) -> None:
    def stop(done: int, n: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bids_cohort(tmp_path, 5, seed=1, grid=GRID, progress=stop)
    assert not (tmp_path / "participants.tsv").exists()
    written = (tmp_path / "sub-V0001" / "anat" / "sub-V0001_T1w.nii.gz").stat().st_mtime_ns
    write_bids_cohort(tmp_path, 5, seed=1, grid=GRID)
    assert files(tmp_path) == files(cohort)
    kept = (tmp_path / "sub-V0001" / "anat" / "sub-V0001_T1w.nii.gz").stat().st_mtime_ns
    assert kept == written


def test_a_cohort_grows_to_what_it_would_have_been_at_once(cohort: Path, tmp_path: Path) -> None:
    write_bids_cohort(tmp_path, 2, seed=1, grid=GRID)
    write_bids_cohort(tmp_path, 5, seed=1, grid=GRID)
    assert files(tmp_path) == files(cohort)


def test_another_cohort_in_the_same_folder_is_refused(cohort: Path) -> None:
    before = files(cohort)
    with pytest.raises(LdmError, match=r"holds the virtual cohort of seed 1 .* seed 2"):
        write_bids_cohort(cohort, 5, seed=2, grid=GRID)
    with pytest.raises(LdmError, match="holds more than 3 virtual subjects"):
        write_bids_cohort(cohort, 3, seed=1, grid=GRID)
    assert files(cohort) == before


def test_a_folder_of_someone_elses_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text('{"Name": "IXI"}')
    with pytest.raises(LdmError, match="holds another dataset"):
        write_bids_cohort(tmp_path, 1, seed=0, grid=GRID)


def test_a_place_where_nobody_can_write_and_no_subjects_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LdmError, match="cannot write there"):
        write_bids_cohort(tmp_path / "file", 1, seed=0, grid=GRID)
    with pytest.raises(LdmError, match="a virtual cohort of 0 subjects"):
        write_bids_cohort(tmp_path / "none", 0, seed=0, grid=GRID)
