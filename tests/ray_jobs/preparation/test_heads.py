"""Preparing heads, without Ray: registration, masks, measured and normalised volumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ldm.anatomy.head_size import TEMPLATE_INTRACRANIAL
from ldm.anatomy.inspection.scan import Inspection
from ldm.anatomy.registration import Registration
from ldm.covariates import PAPER_SCHEMA
from ldm.errors import LdmError
from ldm.training.presets import tiny
from ray_jobs import cli
from ray_jobs.preparation.bids.subjects import find_subjects
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.preparation.notes import STRIPPED_TO_MEASURE
from ray_jobs.preparation.options import Work
from ray_jobs.preparation.subject import kept, prepare_subject
from tests.ray_jobs.line import (
    ended,
    head,
    image_path,
    people,
    refused,
    write_bids,
    write_image,
    write_participants,
)

GRID = tiny().grid
SHIFT = (-66.5, -104.5, -68.5)  # mm: puts the images of `head` near the grid's middle
MEASURED = {"ventricular_volume": 31_000.0, "brain_volume": 1_050_000.0}


def found_at(shift: tuple[float, float, float], scale: float = 1.25) -> Registration:
    rigid = np.eye(4)
    rigid[:3, 3] = shift
    affine = rigid.copy()
    affine[:3, :3] *= scale ** (1 / 3)
    return Registration(rigid=rigid, affine=affine, correlation=0.87654, contrast=0.65432)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Registration, deepbet and measuring answered at once; tells in what order they were asked.

    What an inspection finds is that all is fine.
    """
    asked: list[str] = []

    def register(data: np.ndarray, affine: np.ndarray) -> Registration:
        asked.append("register")
        return found_at(SHIFT)

    def brain_mask(data: np.ndarray, affine: np.ndarray, to_mni: Any = None) -> np.ndarray:
        asked.append("strip" if to_mni is None else "strip upright")
        return data > 100

    def measure(image: nib.Nifti1Image, engine: str) -> dict[str, float]:
        seen = np.asarray(image.dataobj)
        stripped = not ((seen > 0) & (seen <= 100)).any()
        asked.append(f"{engine} on {'brain' if stripped else 'head'}")
        return MEASURED

    fine = Inspection(kind="brain", face=False, turned=0, shifted=0, cut=0, unseen=0, head_cut=0)
    monkeypatch.setattr("ray_jobs.preparation.subject.inspect", lambda *given: fine)
    monkeypatch.setattr("ldm.anatomy.registration.register", register)
    monkeypatch.setattr("ldm.anatomy.skull.brain_mask", brain_mask)
    monkeypatch.setattr("ray_jobs.preparation.look.measure", measure)
    return asked


def run(tmp_path: Path, work: Work) -> tuple[dict[str, Any], np.ndarray]:
    image = write_image(tmp_path / "a_T1w.nii.gz", head(1))
    (tmp_path / "v").mkdir(exist_ok=True)
    outcome = prepare_subject("sub-01", image, tmp_path / "v", GRID, work)
    again = kept("sub-01", image, tmp_path / "v", GRID, work)
    assert again == {**outcome, "redone": False}
    return outcome, np.load(tmp_path / "v" / "sub-01.npy")


def test_a_registered_image_lies_where_its_registration_says(
    tmp_path: Path, here: list[str]
) -> None:
    outcome, volume = run(tmp_path, Work(placement="register"))
    assert here == ["register"]
    assert (outcome["correlation"], outcome["head_scale"]) == (0.8765, pytest.approx(1.25))
    assert outcome["contrast"] == 0.6543
    data = head(1).astype(float)
    voxel = np.array([(i * data).sum() for i in np.indices(data.shape)]) / data.sum()
    placed = np.array([(i * volume).sum() for i in np.indices(volume.shape)]) / volume.sum()
    expected = 9.0 * voxel + SHIFT
    np.testing.assert_allclose((GRID.affine @ [*placed, 1])[:3], expected, atol=3)
    centred = run(tmp_path, Work(placement="centre"))[1]
    assert not np.array_equal(volume, centred)


def test_the_mask_is_sought_upright_where_the_head_is_registered(
    tmp_path: Path, here: list[str]
) -> None:
    whole = run(tmp_path, Work(placement="centre"))[1]
    stripped = run(tmp_path, Work(placement="centre", skull_strip=True))[1]
    assert (stripped > 0).sum() < (whole > 0).sum()
    run(tmp_path, Work(placement="register", skull_strip=True))
    assert here == ["strip", "register", "strip upright"]


@pytest.mark.parametrize(
    ("engine", "seen"), [("atlas", "brain"), ("segmenter", "brain"), ("synthseg", "head")]
)
def test_synthseg_measures_the_head_and_the_others_the_brain(
    tmp_path: Path, here: list[str], engine: str, seen: str
) -> None:
    outcome, _ = run(tmp_path, Work(placement="centre", skull_strip=True, measure=engine))
    assert here[-1] == f"{engine} on {seen}"
    assert outcome["measured"] == MEASURED


def test_the_segmenter_measures_the_brain_of_a_head_that_stays_whole_and_says_so(
    tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_jobs.preparation.look.whole_head", lambda *image: "a dark layer")
    whole = run(tmp_path, Work(placement="centre"))[1]
    outcome, volume = run(tmp_path, Work(placement="centre", measure="segmenter"))
    assert here == ["strip", "segmenter on brain"]
    assert outcome["notes"] == [STRIPPED_TO_MEASURE]
    assert np.array_equal(volume, whole)


def test_a_head_is_not_measured_as_a_brain_where_nothing_can_strip_it(
    tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_deepbet(*image: Any) -> np.ndarray:
        raise ModuleNotFoundError("deepbet")

    monkeypatch.setattr("ray_jobs.preparation.look.whole_head", lambda *image: "a dark layer")
    monkeypatch.setattr("ldm.anatomy.skull.brain_mask", no_deepbet)
    image = write_image(tmp_path / "a_T1w.nii.gz", head(1))
    (tmp_path / "v").mkdir()
    work = Work(placement="centre", measure="segmenter")
    outcome = prepare_subject("sub-01", image, tmp_path / "v", GRID, work)
    assert "knows brains alone: install deepbet" in outcome["reason"]
    assert here == []


def test_a_head_that_does_not_register_is_listed_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(data: np.ndarray, affine: np.ndarray) -> Registration:
        raise LdmError("registration failed: correlation 0.31")

    monkeypatch.setattr("ldm.anatomy.registration.register", register)
    image = write_image(tmp_path / "a_T1w.nii.gz", head(1))
    (tmp_path / "v").mkdir()
    outcome = prepare_subject("sub-01", image, tmp_path / "v", GRID, Work(placement="register"))
    assert outcome == {"reason": "registration failed: correlation 0.31"}
    assert list((tmp_path / "v").iterdir()) == []


def test_a_head_that_registers_only_without_its_skull_is_stripped_first(
    tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldm.anatomy.registration import register as registered

    def register(data: np.ndarray, affine: np.ndarray) -> Registration:
        if ((data > 0) & (data <= 100)).any():
            here.append("refused")
            raise LdmError("registration failed: a skull")
        return registered(data, affine)

    monkeypatch.setattr("ldm.anatomy.registration.register", register)
    outcome, _ = run(tmp_path, Work(placement="register", skull_strip=True))
    assert here == ["refused", "strip", "register"]
    assert outcome["correlation"] == 0.8765
    (tmp_path / "b").mkdir()
    image = write_image(tmp_path / "b_T1w.nii.gz", head(1))
    outcome = prepare_subject("sub-02", image, tmp_path / "b", GRID, Work(placement="register"))
    assert outcome == {"reason": "registration failed: a skull"}


# -------------------------------------------------------------------------------- the table


def cohort(tmp_path: Path, **changes: Any) -> Path:
    """Four subjects; sub-01 lacks its ventricles, sub-02 both volumes."""
    bids = write_bids(tmp_path / "bids", 4)
    rows = people(4)
    rows["sub-01"]["ventricular_volume"] = None
    rows["sub-02"] |= {"ventricular_volume": None, "brain_volume": None}
    for name in rows:
        rows[name] |= {key: values[name] for key, values in changes.items()}
    write_participants(bids, rows)
    return bids


WORDS = ("--preset", "tiny", "--validation", "0", "--placement", "centre")


@pytest.mark.usefixtures("in_this_process")
def test_missing_volumes_are_measured_and_marked(
    tmp_path: Path, here: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = cohort(tmp_path), tmp_path / "p"
    code, _, told = ended(capsys, "prepare", bids, *WORDS, "--measure", "atlas", "--out", out)
    assert code == 0, told
    assert told.startswith("note: brain_volume of 1 of 4 subjects is measured, which is not norm")
    assert told.count("\n") == 1
    table = PreparedCohort.open(out).table.set_index("participant_id")
    assert list(table["ventricular_volume_from"]) == ["atlas", "atlas", *["participants.tsv"] * 2]
    assert list(table["brain_volume_from"]) == [
        "participants.tsv",
        "atlas",
        *["participants.tsv"] * 2,
    ]
    assert list(table["ventricular_volume"][:2]) == [31_000, 31_000]
    rows = people(4)
    assert table["brain_volume"]["sub-01"] == rows["sub-01"]["brain_volume"]
    assert table["brain_volume"]["sub-02"] == 1_050_000
    assert table["ventricular_volume"]["sub-03"] == rows["sub-03"]["ventricular_volume"]
    assert sorted(here) == sorted(["register"] * 4 + ["atlas on head"] * 2)
    told = refused(capsys, "prepare", bids, *WORDS, "--out", out)
    assert "holds another run: measure 'atlas' -> none." in told


def test_without_measure_the_reason_names_it(tmp_path: Path) -> None:
    subjects = {s.participant_id: s for s in find_subjects(cohort(tmp_path), PAPER_SCHEMA)}
    assert subjects["sub-01"].reason == (
        "ventricular_volume is 'n/a': expected a finite number in mm3; --measure auto measures it"
    )
    assert subjects["sub-03"].reason is None


def test_columns_may_be_missing_where_they_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = write_bids(tmp_path / "bids", 2)
    rows = {name: {"age": row["age"], "sex": row["sex"]} for name, row in people(2).items()}
    write_participants(bids, rows)
    subjects = find_subjects(bids, PAPER_SCHEMA, measure=True)
    assert [s.unmeasured for s in subjects] == [("ventricular_volume", "brain_volume")] * 2
    assert [s.reason for s in subjects] == [None, None]
    told = refused(capsys, "prepare", bids, *WORDS, "--out", tmp_path / "p")
    assert "has no column ventricular_volume, brain_volume; " in told
    assert told.endswith("; --measure auto measures it\n")


def test_a_number_that_is_nonsense_is_not_measured_over(tmp_path: Path) -> None:
    bids = write_bids(tmp_path / "bids", 1)
    write_participants(bids, {"sub-01": {**people(1)["sub-01"], "brain_volume": "large"}})
    (subject,) = find_subjects(bids, PAPER_SCHEMA, measure=True)
    assert subject.reason == "brain_volume is 'large': expected a finite number in mm3"


@pytest.mark.usefixtures("in_this_process", "seen_as_fine")
def test_a_background_that_is_not_the_darkest_is_told_each_time_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = write_bids(tmp_path / "bids", 3), tmp_path / "p"
    blob = head(1).astype(np.float32)
    blob = np.where(blob > 20, blob / blob.std() - 2, 0).astype(np.float32)  # 0 is not the least
    write_image(image_path(bids, "sub-02"), blob)
    note = "background 0 is not the darkest of the scan: taken for a mask, blackened"
    for _ in range(2):  # made, and found again
        code, _, told = ended(capsys, "prepare", bids, *WORDS, "--out", out)
        assert (code, told) == (
            0,
            f"note: sub-02: {note}\n"
            "note: 1 of 3 are used though doubtful: 1 background not the darkest\n",
        )
    document = json.loads((out / "cohort.json").read_text())
    assert document["told"] == [{"participant_id": "sub-02", "told": note}]
    assert "noted" not in document
    assert document["unusable"] == []
    assert json.loads((out / "volumes" / "sub-02.json").read_text())["told"] == note
    assert list(PreparedCohort.open(out).table["participant_id"]) == ["sub-01", "sub-02", "sub-03"]
    assert np.load(out / "volumes" / "sub-02.npy")[0].max() == 0


@pytest.mark.usefixtures("in_this_process")
def test_brain_volume_is_normalised_by_the_tables_intracranial_volume_where_all_have_it(
    tmp_path: Path, here: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bids = write_bids(tmp_path / "bids", 3)
    rows = people(3)
    for name, volume in zip(rows, (1_400_000, 1_600_000, 1500), strict=True):
        rows[name]["intracranial_volume"] = volume
    write_participants(bids, rows)
    words = ("prepare", bids, *WORDS, "--normalise-brain-volume")
    code, _, told = ended(capsys, *words, "--out", tmp_path / "p")
    assert code == 0
    assert told == (
        "unusable: sub-03: intracranial_volume is 1500: expected mm3, 627663 to 3765978\n"
    )
    table = PreparedCohort.open(tmp_path / "p").table
    assert set(table["head_scale_from"]) == {"intracranial_volume"}
    np.testing.assert_allclose(
        table["head_scale"], [TEMPLATE_INTRACRANIAL / v for v in (1_400_000, 1_600_000)]
    )
    np.testing.assert_allclose(
        table["brain_volume"],
        [rows[n]["brain_volume"] * s for n, s in zip(rows, table["head_scale"], strict=False)],
        atol=0.5,
    )
    assert here == ["register"] * 2  # to be looked at
    del rows["sub-03"]
    rows["sub-02"]["intracranial_volume"] = None
    write_participants(bids, rows)
    code, _, _ = ended(capsys, *words, "--out", tmp_path / "q")
    table = PreparedCohort.open(tmp_path / "q").table
    assert set(table["head_scale_from"]) == {"registration"}
    np.testing.assert_allclose(table["head_scale"], 1.25, rtol=1e-6)
    assert here == ["register"] * 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--measure", "synthseg"], "--measure synthseg: mri_synthseg is not on PATH: install"),
        (["--measure", "freely"], "--measure: invalid choice: 'freely'"),
        ([], "registration needs SimpleITK: pip install '.[press]' in a checkout of brainpress"),
        (["--placement", "centre"], "registration needs SimpleITK: pip install '.[press]' "),
        (["--covariates", "age.json", "--measure", "atlas"], "the covariates are age"),
        (
            ["--covariates", "age.json", "--normalise-brain-volume"],
            "expected a covariate brain_volume; they are age",
        ),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    write_bids(tmp_path / "bids", 2)
    (tmp_path / "age.json").write_text(
        json.dumps({"covariates": [{"name": "age", "minimum": 0, "maximum": 100}]})
    )
    assert message in refused(capsys, "prepare", "bids", *words, "--out", "p")
    assert not (tmp_path / "p").exists()


def test_without_deepbet_skull_stripping_tells_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bids(tmp_path / "bids", 2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "deepbet" or None)
    told = refused(capsys, "prepare", tmp_path / "bids", "--skull-strip", "--out", tmp_path / "p")
    assert "--skull-strip needs deepbet: pip install '.[strip]' in a checkout of brainpress" in told


def test_the_help_names_the_extra_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prepare", "--help"]) == 0
    said = capsys.readouterr().out
    assert "pip install '.[strip]'" in " ".join(said.split())
    assert "whole-heads --skull-strip --measure auto" in said
