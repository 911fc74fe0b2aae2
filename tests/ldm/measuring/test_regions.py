"""The regions and their tool: known answers on the shipped one, mirror images, other lattices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ldm import noise
from ldm.anatomy import labels, regions
from ldm.errors import LdmError
from ldm.measuring.box import SPACING, Box
from ldm.measuring.fitting.subjects import UNSEEN, Labelled, virtual_subjects
from ldm.measuring.regions import RegionMap, load_region_tool
from ldm.measuring.regions.network import KINDS, in_cells, places, spread, within
from ldm.measuring.regions.task import as_seen, sample, soft_dice
from ldm.measuring.tool_folder import shipped

BY_KEY = {region.key: region for region in regions.REGIONS}
# Of a MUSE map, what `labels` calls fluid, white matter, ventricles and stem; and the rest.
MUSE = [1, 4, 11, 23, *range(30, 33), *range(35, 42), *range(46, 53), *range(55, 63)]
MUSE += [71, 72, 73, 75, 76, *range(81, 96), 100, 101, 102, 103, 166, 167, 190, 191, 206, 207]
SHARE_OF = {
    labels.GREY: "grey_volume",
    labels.WHITE: "white_volume",
    labels.STEM: "brain_stem_volume",
    labels.CSF: "csf_volume",
    labels.VENTRICLE: "ventricular_volume",
}


@pytest.fixture(scope="module")
def subject() -> Labelled:
    return next(iter(virtual_subjects(UNSEEN, 1)))


@pytest.fixture(scope="module")
def found(subject: Labelled) -> RegionMap:
    return load_region_tool().segment(subject.box.voxels, subject.box.affine)


def test_every_region_has_a_number_a_name_and_a_colour_of_its_own_kind() -> None:
    assert [region.number for region in regions.REGIONS] == list(range(1, 59))
    assert len({region.key for region in regions.REGIONS}) == 58
    assert len({region.short for region in regions.REGIONS}) == 58
    assert len({region.colour for region in regions.REGIONS}) == len(regions.KINDS) == 32
    assert BY_KEY["left_hippocampus"].side == regions.LEFT
    assert BY_KEY["brain_stem"].side == regions.MIDLINE


def test_a_muse_number_has_the_structure_that_the_segmenter_gives_it() -> None:
    muse = np.array(MUSE, dtype=np.uint8)
    numbers = regions.from_muse(muse)
    assert regions.UNKNOWN not in numbers
    kinds = [regions.REGIONS[number - 1].kind for number in numbers]
    assert regions.STRUCTURE_OF[kinds].tolist() == labels.from_muse(muse).tolist()
    assert regions.from_muse(np.array([0, 69], dtype=np.uint8)).tolist() == [0, regions.UNKNOWN]


def test_no_muse_number_is_of_two_regions() -> None:
    named = [number for kind in regions.KINDS for number in (*kind.right, *kind.left)]
    assert len(named) == len(set(named))
    for kind in regions.KINDS:
        assert len(kind.left) in (0, len(kind.right))


def test_a_mirrored_map_has_left_and_right_exchanged() -> None:
    known = np.zeros((8, 4, 4), dtype=np.uint8)
    known[1:3] = BY_KEY["left_hippocampus"].number
    known[6:8] = BY_KEY["right_hippocampus"].number
    known[4] = BY_KEY["brain_stem"].number
    assert np.array_equal(as_seen(known), known)
    seen = as_seen(np.ascontiguousarray(known[::-1]))
    assert (seen[0] == BY_KEY["left_hippocampus"].number).all()
    assert (seen[3] == BY_KEY["brain_stem"].number).all()
    assert (seen[6] == BY_KEY["right_hippocampus"].number).all()


def test_a_sample_keeps_left_on_the_left() -> None:
    known = np.zeros((16, 16, 16), dtype=np.uint8)
    known[2:7, 4:12, 4:12] = BY_KEY["left_frontal_cortex"].number
    known[9:14, 4:12, 4:12] = BY_KEY["right_frontal_cortex"].number
    grey = np.where(known, labels.GREY, 0).astype(np.uint8)
    subject = Labelled(
        name="x",
        box=Box(voxels=grey / np.float32(4), affine=np.eye(4)),
        labels=grey,
        parts=grey,
        regions=known,
        has_stem=True,
        row={},
    )
    for key in range(12):
        _, structure, seen = sample(subject, noise.generator(5, key), strong=0.5)
        left = np.argwhere(seen == BY_KEY["left_frontal_cortex"].number)[:, 0]
        right = np.argwhere(seen == BY_KEY["right_frontal_cortex"].number)[:, 0]
        assert left.mean() < right.mean()
        assert ((seen > 0) == (structure > 0)).all()


def test_a_kind_is_only_found_in_its_structure() -> None:
    logits = torch.randn(500, KINDS + 1, generator=torch.Generator().manual_seed(0))
    structure = torch.randint(1, labels.COUNT, (500,), generator=torch.Generator().manual_seed(1))
    share = within(logits, structure)
    kinds = torch.from_numpy(regions.STRUCTURE_OF)[share.argmax(dim=-1)]
    assert torch.equal(kinds.long(), structure)
    assert torch.allclose(share.exp().sum(dim=-1), torch.ones(500))


def test_cells_go_back_to_where_they_were() -> None:
    maps = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    wanted = torch.rand(2, 2, 3, 4, generator=torch.Generator().manual_seed(1)) > 0.5
    rows = in_cells(maps, 2)[wanted][..., None].expand(-1, -1, KINDS + 1)
    back = spread(rows, wanted, 2)
    assert back.shape == (2, 4, 6, 8, KINDS + 1)
    there = in_cells(back[..., 0].contiguous(), 2)
    assert torch.equal(there[wanted], in_cells(maps, 2)[wanted])
    assert not there[~wanted].any()


def test_a_place_is_told_from_the_middle_of_the_brain_in_its_own_size() -> None:
    volume = torch.zeros(1, 1, 16, 16, 16)
    volume[:, :, 4:12, 2:14, 6:10] = 1
    found = places(volume, 2)
    assert found.shape == (1, 3, 8, 8, 8)
    assert torch.allclose(found, -found.flip(2, 3, 4), atol=1e-5)
    assert float(found[0, 0, 2, 0, 0]) == pytest.approx(-3 / 2.29, abs=0.01)  # of 4 and 5, from 7.5


def test_dice_is_one_where_all_is_right() -> None:
    kind = torch.arange(KINDS).repeat(50)
    right = torch.nn.functional.one_hot(kind, KINDS).float()
    assert float(soft_dice(right, kind)) == pytest.approx(1)
    assert float(soft_dice(right.roll(1, dims=1), kind)) < 0.02


def test_regions_add_up_to_what_the_segmenter_tells(found: RegionMap) -> None:
    volumes, whole = found.volumes(), found.segmentation.volumes()
    assert len(volumes) == 58
    for structure, name in SHARE_OF.items():
        parts = [r.key for r in regions.REGIONS if regions.STRUCTURE_OF[r.kind] == structure]
        assert sum(volumes[key] for key in parts) == pytest.approx(whole[name])


def test_both_sides_of_a_virtual_brain_lie_where_they_should(found: RegionMap) -> None:
    """Its anatomy is the template's, bent: every region has its usual size, on its own side."""
    affine = found.segmentation.box.affine
    volumes = found.volumes()
    for kind in ("hippocampus", "thalamus", "putamen", "frontal_cortex", "lateral_ventricle"):
        left, right = volumes[f"left_{kind}"], volumes[f"right_{kind}"]
        assert 0.6 < left / right < 1.67, kind
        middle = [
            (np.argwhere(found.labels == BY_KEY[f"{side}_{kind}"].number) @ affine[:3, :3].T).mean(
                axis=0
            )[0]
            for side in ("left", "right")
        ]
        assert middle[0] < middle[1] - 12, kind
    assert 2000 < volumes["left_hippocampus"] < 6500
    assert 4000 < volumes["left_thalamus"] < 13000


def test_a_mirrored_brain_gets_the_mirrored_map_with_the_sides_exchanged(
    subject: Labelled, found: RegionMap
) -> None:
    voxels = np.ascontiguousarray(subject.box.voxels[::-1])
    other = load_region_tool().segment(voxels, subject.box.affine)
    mirrored = as_seen(np.ascontiguousarray(found.labels[::-1]))
    here = other.labels_on(voxels.shape, subject.box.affine)
    assert (here == mirrored).mean() > 0.97  # its box lies half a voxel away
    volumes, sides = found.volumes(), other.volumes()
    for kind in ("hippocampus", "frontal_cortex", "lateral_ventricle"):
        assert sides[f"left_{kind}"] == pytest.approx(volumes[f"right_{kind}"], rel=0.05)


def test_on_other_lattices_the_map_is_the_same_brain(found: RegionMap) -> None:
    box = found.segmentation.box
    assert np.array_equal(found.labels_on(box.voxels.shape, box.affine), found.labels)
    fine = box.affine @ np.diag([0.5, 0.5, 0.5, 1])
    half = found.labels_on(tuple(2 * side for side in box.voxels.shape), fine)
    volumes, volume = found.volumes(), (SPACING / 2) ** 3
    for region in regions.REGIONS:
        thin = regions.STRUCTURE_OF[region.kind] == labels.CSF
        if volumes[region.key] > 2000 and not thin:
            seen = float((half == region.number).sum()) * volume
            assert seen == pytest.approx(volumes[region.key], rel=0.12), region.key
    swapped = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    there = found.labels_on(
        (box.voxels.shape[1], box.voxels.shape[0], box.voxels.shape[2]), box.affine @ swapped
    )
    assert np.array_equal(there, found.labels.swapaxes(0, 1))
    outside = np.eye(4)
    outside[:3, 3] = 5000
    assert not found.labels_on((4, 5, 6), outside).any()


def test_a_tool_for_another_segmenter_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "regions"
    shutil.copytree(shipped("regions"), folder)
    document = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**document, "segmenter": "0" * 64}))
    with pytest.raises(LdmError, match="trained with another segmenter or on other regions"):
        load_region_tool(folder)
    (folder / "model.json").write_text(json.dumps(document))
    weights = folder / "regions.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(LdmError, match=r"regions\.safetensors is damaged"):
        load_region_tool(folder)


def test_what_is_no_brain_is_refused() -> None:
    with pytest.raises(LdmError, match="every voxel has the same value"):
        load_region_tool().segment(np.zeros((10, 10, 10)), np.eye(4))


def test_the_card_tells_licence_and_split() -> None:
    card = load_region_tool().document["card"]
    assert card["license"] == "CC BY-SA 3.0"
    assert card["split"]["unseen_share"] == 0.25
    assert len(load_region_tool().fingerprint) == 64
