"""`prepare --suffix`: one other contrast, or several of which each is a sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm.anatomy.registration import Registration
from ldm.covariates import CovariateSchema
from ldm.errors import LdmError
from ldm.split import person_of
from ldm.volumes.quality import Strictness
from ray_jobs.files import read_json
from ray_jobs.generation.worker.drawing import check_asked
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.preparation.options import Work
from ray_jobs.preparation.subject import prepare_subject
from tests.ray_jobs.line import (
    PRESET,
    ended,
    head,
    people,
    refused,
    write_autoencoder,
    write_image,
    write_latents,
    write_participants,
)

CENTRED = ("--preset", "tiny", "--placement", "centre")
IDENTITY = Registration(rigid=np.eye(4), affine=np.eye(4), correlation=1.0, contrast=1.0)


@pytest.fixture(autouse=True)
def _without_ray(
    in_this_process: None, seen_as_fine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ldm.anatomy.registration.register_beside", lambda *given: IDENTITY)


def dataset(
    folder: Path,
    count: int = 4,
    suffixes: Sequence[str] = ("T1w", "T2w", "FLAIR"),
    *,
    sessions: Sequence[str] = ("",),
    **columns: Any,
) -> Path:
    folder.mkdir(parents=True)
    rows = {name: {**row, **columns} for name, row in people(count).items()}
    write_participants(folder, rows)
    for seed, name in enumerate(rows):
        for session in sessions:
            place = folder / name / (f"ses-{session}" if session else "") / "anat"
            stem = f"{name}_ses-{session}" if session else name
            for number, suffix in enumerate(suffixes):
                write_image(place / f"{stem}_{suffix}.nii.gz", head(10 * seed + number))
    return folder


def prepare(
    capsys: pytest.CaptureFixture[str], bids: Path, *words: object
) -> tuple[PreparedCohort, str, str]:
    out = bids.with_name("p")
    code, said, told = ended(
        capsys, "prepare", bids, *CENTRED, "--out", out, "--validation", 0.5, *words
    )
    assert code == 0, told
    return PreparedCohort.open(out), said, told


def test_one_other_contrast_is_a_cohort_without_a_covariate_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort, _, told = prepare(capsys, dataset(tmp_path / "b"), "--suffix", "T2w")
    assert cohort.suffixes == ("T2w",)
    assert list(cohort.table["participant_id"]) == list(people(4))
    assert all(image.endswith("_T2w.nii.gz") for image in cohort.table["image"])
    assert "modality" not in cohort.schema.names
    assert told == ""
    line = refused(capsys, "prepare", tmp_path / "b", *CENTRED, "--out", tmp_path / "p")
    assert "holds another run: suffixes" in line


def test_each_contrast_is_a_sample_and_a_person_is_on_one_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = dataset(tmp_path / "b", 12)
    (bids / "sub-03/anat/sub-03_FLAIR.nii.gz").unlink()
    cohort, said, told = prepare(capsys, bids, "--suffix", "T1w,T2w,FLAIR")
    table = cohort.table
    assert len(table) == 35
    assert {"sub-01_T1w", "sub-01_T2w", "sub-01_FLAIR"} <= set(table["participant_id"])
    assert (table["modality"] == table["participant_id"].str.rpartition("_")[2]).all()
    assert set(table.groupby(table["participant_id"].map(person_of))["split"].nunique()) == {1}
    modality = cohort.schema["modality"]
    assert (modality.levels, modality.coding) == (("T1w", "T2w", "FLAIR"), "one-hot")
    assert cohort.suffixes == ("T1w", "T2w", "FLAIR")
    assert "no FLAIR image of 1 of 12 participants, whose others are used: sub-03\n" in said
    assert "12 T1w, 12 T2w, 11 FLAIR of 12 people\n" in said
    assert (told, read_json(cohort.folder / "cohort.json")["unusable"]) == ("", [])  # type: ignore[index]
    assert "nothing left to do" in prepare(capsys, bids, "--suffix", "T1w,T2w,FLAIR")[1]


def test_who_has_none_of_the_contrasts_is_unusable_and_one_found_is_one_contrast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = dataset(tmp_path / "b", 4, ("T1w",))
    (bids / "sub-02/anat/sub-02_T1w.nii.gz").unlink()
    cohort, said, told = prepare(capsys, bids, "--suffix", "T1w,T2w")
    assert (cohort.suffixes, len(cohort.table)) == (("T1w",), 3)
    assert "modality" not in (*cohort.schema.names, *cohort.table.columns)
    assert "of T1w, T2w there is T1w alone: a cohort of one contrast" in said
    assert "unusable: sub-02: no T1w or T2w image\n" in told


def test_sessions_and_contrasts_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = dataset(tmp_path / "b", 4, ("T1w", "T2w"), sessions=("01", "02"))
    (bids / "sub-03/ses-02/anat/sub-03_ses-02_T2w.nii.gz").unlink()
    cohort, said, _ = prepare(capsys, bids, "--suffix", "T1w,T2w", "--session", "all")
    names = list(cohort.table["participant_id"])
    assert len(names) == 15
    assert "no T2w image of 1 of 8 sessions, whose others are used: sub-03_ses-02\n" in said
    assert "sub-01_ses-02_T2w" in names
    assert cohort.people("train") + cohort.people("validation") == 4


def test_the_best_image_is_chosen_of_each_contrast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = dataset(tmp_path / "b", 3, ("T1w", "T2w"))
    write_image(bids / "sub-01/anat/sub-01_ce-gd_T2w.nii.gz", head(9))
    _, said, _ = prepare(capsys, bids, "--suffix", "T1w,T2w")
    assert "chosen: sub-01_T2w: anat/sub-01_T2w.nii.gz (plain before contrast-enhanced)" in said
    assert said.count("chosen: ") == 1


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        ("T3w", "--suffix T3w: 'T3w': expected some of T1w, T2w, PDw, FLAIR, T2starw"),
        ("flair", "--suffix flair: 'flair': did you mean FLAIR?"),
        (",", "--suffix ,: no suffix; expected some of"),
        ("T1w,T1w", "T1w is given twice; give it once"),
    ],
)
def test_what_is_no_suffix_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, line: str
) -> None:
    words = ("prepare", tmp_path, "--suffix", suffix, "--out", tmp_path / "p")
    assert line in refused(capsys, *words)


def with_own_modality(path: Path, *levels: str) -> Path:
    """A schema that has a covariate `modality` already."""
    own = {"name": "modality", "kind": "categorical", "levels": list(levels)}
    age = {"name": "age", "unit": "year", "kind": "continuous", "minimum": 0, "maximum": 100}
    path.write_text(json.dumps({"covariates": [own, age]}))
    return path


def test_a_modality_of_ones_own_is_refused_unless_it_is_the_contrast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = dataset(tmp_path / "b", 4, ("T1w", "T2w"), modality="3T")
    own = with_own_modality(tmp_path / "own.json", "3T", "7T")
    words = (*CENTRED, "--suffix", "T1w,T2w", "--out", tmp_path / "p", "--covariates", own)
    line = refused(capsys, "prepare", bids, *words)
    assert "the covariate modality is then the contrast of each image" in line
    assert "name yours otherwise" in line
    same = with_own_modality(tmp_path / "same.json", "T2w", "T1w")
    cohort, _, _ = prepare(capsys, bids, "--suffix", "T1w,T2w", "--covariates", same)
    assert set(cohort.table["modality"]) == {"T1w", "T2w"}
    assert cohort.schema.names == ("age", "modality")


def test_of_one_contrast_a_column_modality_is_a_covariate_as_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = dataset(tmp_path / "b", 4, ("T2w",), modality="3T")
    own = with_own_modality(tmp_path / "own.json", "3T", "7T")
    cohort, _, _ = prepare(capsys, bids, "--suffix", "T2w", "--covariates", own)
    assert set(cohort.table["modality"]) == {"3T"}
    assert cohort.suffixes == ("T2w",)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """deepbet and the measuring engines are not run, and tell what they are given."""
    asked: list[str] = []

    def brain_mask(data: np.ndarray, affine: np.ndarray, to_mni: Any = None) -> np.ndarray:
        asked.append("strip")
        return data > 100

    def measure(image: Any, engine: str) -> dict[str, float]:
        asked.append(engine)
        return {"ventricular_volume": 2e4, "brain_volume": float(np.asarray(image.dataobj).max())}

    monkeypatch.setattr("ldm.anatomy.skull.brain_mask", brain_mask)
    monkeypatch.setattr("ray_jobs.preparation.look.measure", measure)
    return asked


def test_another_contrast_has_the_brain_and_the_volumes_of_the_t1w_of_its_session(
    tmp_path: Path, asked: list[str]
) -> None:
    t1w = write_image(tmp_path / "sub-01_T1w.nii.gz", head(1))
    t2w = write_image(tmp_path / "sub-01_T2w.nii.gz", 255 - head(1) // 2)
    (tmp_path / "v").mkdir()
    work = Work(placement="register", skull_strip=True, measure="segmenter", suffix="T2w")
    guided = Work(**{**vars(work), "guide": str(t1w)})
    found = prepare_subject("sub-01_T2w", t2w, tmp_path / "v", PRESET.grid, guided)
    assert asked == ["strip", "segmenter"]  # of the T1w, once
    assert found["measured"]["brain_volume"] == head(1).max()
    volume = np.load(tmp_path / "v" / "sub-01_T2w.npy")
    corner = volume[0, 0, 0]
    assert corner == 0  # outside of the T1w's brain, where the T2w image is brightest
    assert volume.max() > 0
    alone = prepare_subject("sub-01_T2w", t2w, tmp_path / "v", PRESET.grid, work)
    assert alone["reason"].startswith("--skull-strip knows T1w images alone, and there is no T1w")
    unstripped = Work(placement="register", measure="segmenter", suffix="T2w")
    line = prepare_subject("sub-01_T2w", t2w, tmp_path / "v", PRESET.grid, unstripped)["reason"]
    assert line.startswith("--measure segmenter knows T1w images alone, and there is no T1w image")
    asked.clear()
    synthseg = Work(placement="register", measure="synthseg", suffix="T2w")
    found = prepare_subject("sub-01_T2w", t2w, tmp_path / "v", PRESET.grid, synthseg)
    assert asked == ["synthseg"]
    assert found["measured"]["brain_volume"] > 200  # of the T2w image itself


def test_a_t1w_that_cannot_be_used_is_named(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(*given: object) -> Registration:
        if len(given) == 2:
            raise LdmError("registration failed: no head")
        return IDENTITY

    def brain_mask(*given: object) -> np.ndarray:
        raise LdmError("deepbet finds no brain")

    monkeypatch.setattr("ldm.anatomy.registration.register", register)
    monkeypatch.setattr("ldm.anatomy.skull.brain_mask", brain_mask)
    t1w = write_image(tmp_path / "sub-09_T1w.nii.gz", head(2))
    t2w = write_image(tmp_path / "sub-09_T2w.nii.gz", head(3))
    (tmp_path / "v").mkdir()
    work = Work(placement="register", skull_strip=True, suffix="T2w", guide=str(t1w))
    line = prepare_subject("sub-09_T2w", t2w, tmp_path / "v", PRESET.grid, work)["reason"]
    assert "sub-09_T1w.nii.gz cannot be used (deepbet finds no brain)" in line


def test_the_quality_check_has_bounds_of_each_contrast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ldm.loading import describe
    from ldm.models.description import ModelDescription
    from ldm.models.latent_diffusion import save
    from ldm.networks import Denoiser
    from ray_jobs.training.diffusion_job import denoiser_config, describe_model

    cohort, _, _ = prepare(capsys, dataset(tmp_path / "b", 12), "--suffix", "T1w,T2w,FLAIR")
    write_autoencoder(tmp_path / "ae")
    latents = write_latents(tmp_path / "l", cohort, tmp_path / "ae")
    assert set(latents.bounds_of) == {"T1w", "T2w", "FLAIR"}
    preset = PRESET
    network = denoiser_config(preset, latents, preset.train_diffusion)
    assert network.conditions == 4 + 3
    made = describe_model("three", {}, preset, network, latents)
    card = {"name": "three", "license": "CC0-1.0", "demo": False}
    made = ModelDescription(**{**vars(made), "card": card})
    save(tmp_path / "m", made, latents.autoencoder.network(), Denoiser(network))
    read = describe(tmp_path / "m")
    assert (read.suffixes, read.bounds_of) == (made.suffixes, made.bounds_of)
    levels = np.full(PRESET.grid.shape, 2000, np.uint16)
    figure = {"mean_intensity": (0.4, 0.6)}
    own = {"T1w": {"mean_intensity": (0.8, 0.9)}, "T2w": figure}
    read = ModelDescription(**{**vars(read), "bounds_of": own, "bounds": {}})
    row = {**read.distribution.sample(np.random.default_rng(0)), "modality": "T2w"}
    assert check_asked(read, Strictness.MODEL, levels, row).ok
    refused_as_t1w = check_asked(read, Strictness.MODEL, levels, {**row, "modality": "T1w"})
    assert "mean_intensity" in str(refused_as_t1w.error)


def test_a_model_of_several_contrasts_needs_the_covariate_that_tells_them() -> None:
    from ldm.loading import describe
    from ldm.models.description import ModelDescription

    shipped = describe("demo")
    assert shipped.suffixes == ("T1w",)
    assert not {"suffixes", "bounds_of"} & shipped.to_json().keys()
    with pytest.raises(LdmError, match="expected a covariate modality with these levels"):
        ModelDescription(**{**vars(shipped), "suffixes": ("T1w", "T2w")})
    assert isinstance(shipped.schema, CovariateSchema)
