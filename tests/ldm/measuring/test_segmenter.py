"""The shipped segmenter: known answers, whatever the image's lattice; and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from ldm.anatomy import labels
from ldm.anatomy.labels import dice
from ldm.errors import LdmError
from ldm.measuring import measure
from ldm.measuring.box import SPACING, to_box
from ldm.measuring.fitting.subjects import UNSEEN, Labelled, virtual_subjects
from ldm.measuring.network import pooled
from ldm.measuring.people import load_people, predictors
from ldm.measuring.segmenter import load_segmenter
from ldm.measuring.tool_folder import shipped

VENTRICLES, BRAIN, HEAD = "ventricular_volume", "brain_volume", "intracranial_volume"


@pytest.fixture(scope="module")
def subject() -> Labelled:
    """A virtual subject that no tool was trained on."""
    return next(iter(virtual_subjects(UNSEEN, 1)))


@pytest.fixture(scope="module")
def image(subject: Labelled) -> nib.Nifti1Image:
    return nib.Nifti1Image(subject.box.voxels, subject.box.affine)


@pytest.fixture(scope="module")
def volumes(image: nib.Nifti1Image) -> dict[str, float]:
    return measure(image, "segmenter")


def test_an_unseen_virtual_subjects_volumes_are_its_true_ones(
    subject: Labelled, volumes: dict[str, float]
) -> None:
    counts = np.bincount(subject.labels.ravel(), minlength=labels.COUNT)
    true = labels.volumes(counts, SPACING**3)
    assert volumes[VENTRICLES] == pytest.approx(true[VENTRICLES], rel=0.2)
    assert volumes[BRAIN] == pytest.approx(true[BRAIN], rel=0.04)
    assert volumes[HEAD] == pytest.approx(true[HEAD], rel=0.01)
    assert volumes["grey_volume"] == pytest.approx(true["grey_volume"], rel=0.08)


def test_its_label_map_overlaps_the_true_one_on_the_images_own_lattice(subject: Labelled) -> None:
    found = load_segmenter().segment(subject.box.voxels, subject.box.affine)
    seen = found.labels_on(subject.labels.shape, subject.box.affine)
    assert np.array_equal(seen, found.labels)
    assert dice(seen, subject.labels, labels.VENTRICLE) > 0.85
    assert dice(seen, subject.labels, labels.GREY) > 0.85


def test_the_order_and_direction_of_the_axes_do_not_matter(
    image: nib.Nifti1Image, volumes: dict[str, float]
) -> None:
    for axes in ("LPI", "ASR"):
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
        )
        found = measure(image.as_reoriented(turn), "segmenter")
        assert found[VENTRICLES] == pytest.approx(volumes[VENTRICLES], rel=0.01)
        assert found[BRAIN] == pytest.approx(volumes[BRAIN], rel=0.002)


@pytest.mark.parametrize("sides", [(2.5, 2.5, 2.5), (1.0, 1.3, 3.0)], ids=["2.5 mm", "thick"])
def test_the_voxels_size_hardly_matters(
    subject: Labelled, volumes: dict[str, float], sides: tuple[float, float, float]
) -> None:
    from scipy.ndimage import zoom

    factors = SPACING / np.array(sides)
    data = zoom(subject.box.voxels, factors, order=1, grid_mode=True, mode="grid-constant")
    affine = subject.box.affine @ np.diag([*np.array(subject.box.voxels.shape) / data.shape, 1])
    found = load_segmenter().measure(data, affine)
    assert found[VENTRICLES] == pytest.approx(volumes[VENTRICLES], rel=0.1)
    assert found[BRAIN] == pytest.approx(volumes[BRAIN], rel=0.05)
    assert found[HEAD] == pytest.approx(volumes[HEAD], rel=0.03)


def test_brightness_and_its_offset_do_not_matter(
    subject: Labelled, volumes: dict[str, float]
) -> None:
    found = load_segmenter().measure(37 * subject.box.voxels - 12, subject.box.affine)
    assert found[VENTRICLES] == pytest.approx(volumes[VENTRICLES], rel=0.01)


def test_left_and_right_are_alike(subject: Labelled, volumes: dict[str, float]) -> None:
    found = load_segmenter().measure(subject.box.voxels[::-1], subject.box.affine)
    assert found == pytest.approx(volumes, rel=0.02, abs=500)


def test_features_are_of_one_length_for_images_of_any_shape(subject: Labelled) -> None:
    """(208,): every level; alike for the same brain, unlike for another."""
    whole, affine = subject.box.voxels, subject.box.affine
    larger = np.pad(whole, 9)
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ [9, 9, 9]
    noise = np.random.default_rng(0).random(whole.shape).astype(np.float32)
    other = np.where(whole > 0.1, 0.2 + 0.8 * noise, np.float32(0))
    found = load_segmenter().features([(whole, affine), (larger, moved), (other, affine)])
    assert found.shape == (3, 208)
    assert found.dtype == np.float32
    assert np.allclose(found[0], found[1], atol=1e-4)
    assert np.abs(found[0] - found[2]).mean() > 0.01


def test_a_brain_too_long_for_the_box_gets_a_longer_one(subject: Labelled) -> None:
    affine = subject.box.affine @ np.diag([1.0, 1.2, 0.9, 1.0])
    box = to_box(subject.box.voxels, affine)
    assert box.voxels.shape == (80, 112, 80)
    found = load_segmenter().measure(subject.box.voxels, affine)
    true = (subject.labels > 0).sum() * abs(np.linalg.det(affine[:3, :3]))
    assert found[HEAD] == pytest.approx(true, rel=0.02)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((8, 8, 8)), "an empty image"),
        (np.zeros((8, 8)), "an image of 2 dimensions"),
        (np.full((8, 8, 8), np.nan), "not finite"),
        (np.pad(np.ones((4, 4, 4)), 4), "litres are brighter than background, expected a brain"),
        (np.pad(np.ones((90, 90, 90)), 4), r"skull still there \(--skull-strip\)"),
    ],
    ids=["empty", "flat", "nan", "too small", "a whole head"],
)
def test_what_is_no_brain_is_refused_in_one_line(data: np.ndarray, message: str) -> None:
    with pytest.raises(LdmError, match=f"^measuring failed: .*{message}") as told:
        load_segmenter().measure(data, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert "\n" not in str(told.value)


def test_a_damaged_or_missing_tool_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "tool"
    shutil.copytree(shipped("segmenter"), folder)
    weights = folder / "segmenter.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(LdmError, match=r"segmenter\.safetensors is damaged"):
        load_segmenter(folder)
    weights.unlink()
    with pytest.raises(LdmError, match="no measuring tool there"):
        load_segmenter(folder)
    (folder / "model.json").write_text('{"format": "brainpress-tool", "kind": "people"}')
    with pytest.raises(LdmError, match="not a segmenter"):
        load_segmenter(folder)
    (folder / "model.json").write_text("[")
    with pytest.raises(LdmError, match=r"model\.json is damaged"):
        load_segmenter(folder)


def test_the_card_tells_the_split_and_the_people_tool_names_its_segmenter() -> None:
    document = json.loads((shipped("segmenter") / "model.json").read_text())
    assert document["card"]["split"]["unseen_share"] == 0.25
    assert document["card"]["license"] == "CC BY-SA 3.0"
    people = json.loads((shipped("people") / "model.json").read_text())
    assert people["segmenter"] == document["files"]["segmenter.safetensors"]


def test_the_encoder_alone_gives_the_features_of_the_whole_network() -> None:
    network = load_segmenter().network
    volume = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(network.features(volume), pooled(network.see(volume).levels, volume))


def test_age_and_sex_come_from_the_same_segmentation(subject: Labelled) -> None:
    """Virtual people are no test of accuracy; but wider ventricles look older."""
    found = load_segmenter().segment(subject.box.voxels, subject.box.affine)
    person = load_people().judge(found)
    assert 0 <= person.male <= 1
    assert person.sex == ("M" if person.male >= 0.5 else "F")
    sizes = {group: len(values) for group, values in predictors(found).items()}
    assert sizes == {"volumes": 6, "encoder": 208, "maps": 1280}
    wide = binary_dilation(found.labels == labels.VENTRICLE, iterations=2)
    shares = np.where(wide, np.float32(0), found.shares)
    shares[labels.VENTRICLE][wide] = 1
    assert load_people().judge(replace(found, shares=shares)).age > person.age
