"""Training the measuring tools: labels, augmentation, the split, resuming, the regressions."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ldm import noise
from ldm.anatomy import labels
from ldm.anatomy.virtual.subject import make_subject
from ldm.errors import LdmError
from ldm.measuring import people_fit, train
from ldm.measuring.box import Box
from ldm.measuring.fitting import augment
from ldm.measuring.fitting.subjects import (
    TRAIN,
    UNSEEN,
    UNSEEN_SHARE,
    Labelled,
    real_subjects,
    split_of,
)
from ldm.measuring.network import SegmenterConfig, SegmenterNetwork
from ldm.measuring.segmenter_task import begin_with, sample, soft_dice, without_stem
from ldm.volumes.grid import Grid
from ray_jobs.preparation.bids.subjects import in_validation

# MUSE numbers for the labels of a virtual subject.
MUSE = np.array([0, 1, 120, 83, 51], dtype=np.uint8)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects at 4 mm with MUSE labels, of which one is held out."""
    bids = tmp_path_factory.mktemp("bids")
    kept = [f"sub-{n}" for n in range(30) if split_of(f"sub-{n}") == TRAIN][:2]
    out = [f"sub-{n}" for n in range(30) if split_of(f"sub-{n}") == UNSEEN][:1]
    rows = ["participant_id\tage\tsex"]
    for number, name in enumerate([*kept, *out]):
        subject = make_subject((7, number), Grid(shape=(40, 48, 40), spacing=4.0))
        known = MUSE[np.asarray(subject.labels.dataobj)]
        for path, voxels in (
            (bids / name / "anat" / f"{name}_T1w.nii.gz", np.asarray(subject.image.dataobj)),
            (bids / "derivatives" / "muse" / name / f"{name}_dseg.nii.gz", known),
        ):
            path.parent.mkdir(parents=True)
            nib.save(nib.Nifti1Image(voxels, subject.image.affine), path)
        rows.append(f"{name}\t{30 + 20 * number}\t{'MF'[number % 2]}")
    (bids / "participants.tsv").write_text("\n".join(rows) + "\n")
    return bids


def labelled() -> Labelled:
    known = np.zeros((16, 16, 16), np.uint8)
    known[4:12, 3:13, 4:12] = labels.GREY
    known[6:10, 6:10, 6:10] = labels.WHITE
    box = Box(voxels=known / np.float32(4), affine=np.eye(4))
    return Labelled(
        name="x", box=box, labels=known, parts=known, regions=known, has_stem=True, row={}
    )


def test_the_tools_hold_out_everybody_whom_prepare_holds_out() -> None:
    names = [f"sub-{number:04d}" for number in range(400)]
    here = {name for name in names if split_of(name) == UNSEEN}
    assert {name for name in names if in_validation(name, 0.1)} < here
    assert len(here) / len(names) == pytest.approx(UNSEEN_SHARE, abs=0.07)


def test_held_out_subjects_are_not_read_for_training(cohort: Path) -> None:
    trained = {subject.name for subject in real_subjects(cohort, TRAIN)}
    kept_out = {subject.name for subject in real_subjects(cohort, UNSEEN)}
    assert (len(trained), len(kept_out)) == (2, 1)
    assert not trained & kept_out


def test_labels_meet_their_image_in_the_box(cohort: Path) -> None:
    subject = next(real_subjects(cohort, TRAIN))
    assert set(np.unique(subject.labels)) == {0, 1, 2, 3, 4}
    mean = [subject.box.voxels[subject.labels == n].mean() for n in range(5)]
    assert mean[labels.BACKGROUND] < 0.05 < mean[labels.CSF] < mean[labels.GREY]
    assert mean[labels.VENTRICLE] < mean[labels.GREY] < mean[labels.WHITE]


def test_muse_numbers_become_structures() -> None:
    muse = np.array([0, 1, 4, 11, 46, 49, 52, 35, 45 - 4, 95, 100, 207, 38, 59, 61], np.uint8)
    expected = [0, 1, 1, 1, 1, 4, 4, 5, 3, 3, 2, 2, 2, 2, 3]
    assert labels.from_muse(muse).tolist() == expected
    parts = labels.parts_of_muse(np.arange(208, dtype=np.uint8))
    assert parts.max() == 15
    assert parts[0] == 0


def test_volumes_add_up() -> None:
    found = labels.volumes(np.array([1000, 10, 20, 30, 4, 6]), 8.0)
    assert found["ventricular_volume"] == 32
    assert found["brain_volume"] == 8 * 56
    assert found["intracranial_volume"] == 8 * 70


def test_image_and_labels_are_warped_alike_and_the_same_key_gives_the_same() -> None:
    subject = labelled()
    for number in range(5):
        image, maps = augment.warp(
            subject.box.voxels, subject.labels[None], noise.generator(number)
        )
        inside = image > 0.65
        assert inside.any()
        assert (maps[0][inside] == labels.WHITE).mean() > 0.9
    drawn = [sample(subject, noise.generator(3), 1.0) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(*drawn, strict=True))
    mild = sample(subject, noise.generator(3), 0.0)
    assert not np.array_equal(mild[0], drawn[0][0])
    assert drawn[0][0].dtype == np.float32


def test_what_a_scanner_adds_leaves_the_tissues_in_their_place() -> None:
    subject = labelled()
    seen = [augment.scanned(subject.box.voxels, noise.generator(9, n)) for n in range(20)]
    for image in seen:
        assert np.isfinite(image).all()
        assert 0 <= image.min() <= image.max() <= 1.2
        assert image[7:9, 7:9, 7:9].mean() > image[4:12, 3:5, 4:12].mean()
    assert len({image.tobytes() for image in seen}) == 20


def test_dice_is_one_where_all_is_right_and_the_stem_may_be_unknown() -> None:
    known = torch.from_numpy(labelled().labels)[None].long()
    right = torch.nn.functional.one_hot(known, labels.COUNT).movedim(-1, 1).float()
    assert float(soft_dice(right, known)) == pytest.approx(1)
    wrong = right.clone()
    wrong[:, [labels.GREY, labels.WHITE]] = right[:, [labels.WHITE, labels.GREY]]
    assert float(soft_dice(wrong, known)) < 0.02
    split = torch.full((2, labels.COUNT, 1, 1, 1), 1 / labels.COUNT).log()
    told = without_stem(split, torch.tensor([True, False])).exp()[:, labels.WHITE, 0, 0, 0]
    assert told.tolist() == pytest.approx([1 / 6, 2 / 6])


def test_a_stopped_training_goes_on_to_the_same_weights(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(train, "CHANNELS", (4, 4, 6))
    words = ["--bids", str(cohort), "--virtual", "0", "--batch-size", "1", "--save-every", "1"]
    words += ["--cooldown-steps", "0", "--precision", "fp32"]
    for out, lengths in (("whole", [2]), ("parts", [1, 2])):
        for steps in lengths:
            assert train.main([*words, "--steps", str(steps), "--out", str(tmp_path / out)]) == 0
    whole, parts = (tmp_path / out / "tool" / "model.json" for out in ("whole", "parts"))
    assert json.loads(whole.read_text())["files"] == json.loads(parts.read_text())["files"]
    assert json.loads(whole.read_text())["card"]["training"]["real_subjects"] == 2
    shape = SegmenterConfig(channels=(4, 4, 6), patch=2, refine=16, refinements=2)
    later = SegmenterNetwork(shape)
    assert begin_with(later, tmp_path / "whole")["step"] == 2
    assert torch.equal(later.last[0].weight.half(), weights(tmp_path / "whole")["last.0.weight"])
    assert later(torch.rand(1, 1, 16, 16, 16)).shape == (1, labels.COUNT, 16, 16, 16)
    other = SegmenterNetwork(SegmenterConfig(channels=(4, 4, 8), patch=2))
    with pytest.raises(LdmError, match="a network of another shape"):
        begin_with(other, tmp_path / "whole")
    capsys.readouterr()
    again = [*words, "--seed", "1", "--steps", "2", "--out", str(tmp_path / "whole")]
    assert train.main(again) == 2
    assert "holds another run: give another folder" in capsys.readouterr().err


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "tool" / "segmenter.safetensors")


def people(count: int, copies: int = 2) -> dict[str, np.ndarray]:
    """People whose age is in `maps` alone and whose sex is in `volumes` alone."""
    rng = noise.generator(4)
    age, sex = rng.uniform(20, 80, count), (rng.random(count) < 0.5).astype(float)
    values = {name: rng.standard_normal((count, size)) for name, size in SIZES.items()}
    values["maps"][:, 3] += 0.2 * age
    values["volumes"][:, 1] += 4 * sex
    table = {"name": np.array([f"p{n}" for n in range(count)]), "age": age, "sex": sex, **values}
    return {name: np.repeat(column, copies, axis=0) for name, column in table.items()}


SIZES = {"volumes": 4, "encoder": 12, "maps": 20}


def test_cross_validation_finds_where_age_and_sex_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(people_fit, "PENALTIES", (0.01, 1.0))
    monkeypatch.setattr(people_fit, "CHOICES", (("volumes",), ("encoder",), ("maps",)))
    table = people(80)
    groups, penalty, tried = people_fit.choose(table, "age")
    assert (groups, penalty) == (("maps",), 0.01)
    assert tried[2]["mean_error_years"] < 6 < 12 < tried[1]["mean_error_years"]
    groups, _, tried = people_fit.choose(table, "sex")
    assert groups == ("volumes",)
    assert tried[0]["error_rate"] < 0.1 < 0.3 < tried[1]["error_rate"]


def test_the_overlap_of_two_label_maps() -> None:
    a = np.array([1, 1, 2, 0])
    assert labels.dice(a, np.array([1, 0, 2, 2]), 1) == pytest.approx(2 / 3)
    assert np.isnan(labels.dice(a, a, 5))
