"""What is seen in a scan: a head or a brain, a face, tilt, and what is cut off."""

from __future__ import annotations

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ldm.anatomy.inspection.scan import Inspection, inspect
from ldm.anatomy.inspection.surroundings import holds_head
from ldm.anatomy.pyramid import template
from ldm.anatomy.registration import Registration
from ldm.training.presets import preset
from ldm.volumes.conversion import placed_affine
from ldm.volumes.grid import Grid
from tests.ldm.heads import turned
from tests.ldm.scalps import about_the_brain, brain, head, in_place

DEMO, PAPER = preset("demo").grid, preset("paper").grid
RNG = np.random.default_rng(0)


def seen(data: np.ndarray, affine: np.ndarray, grid: Grid = PAPER) -> Inspection:
    """What is seen of a scan in MNI space that is believed to lie there."""
    return inspect(data.astype(np.float32), affine, in_place(), affine, grid)


def z_scored_in_its_mask(data: np.ndarray) -> np.ndarray:
    inside = data > 20
    return np.where(inside, (data - data[inside].mean()) / data[inside].std(), 0)


def noisy(data: np.ndarray) -> np.ndarray:
    return np.hypot(data + RNG.normal(0, 60, data.shape), RNG.normal(0, 60, data.shape))


CONTRASTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda data: data,
    "flat": lambda data: 1000 * (data / 1000) ** 0.5,
    "steep": lambda data: 1000 * (data / 1000) ** 2,
    "with an offset": lambda data: data - 1024,
    "noisy": noisy,
    "a few spikes": lambda data: np.where(RNG.random(data.shape) < 1e-4, 3e4, data),
    "brighter below": lambda data: data * np.exp(np.linspace(1, -1, data.shape[2])),
}


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_heads_are_told_from_brains_at_any_contrast(contrast: str) -> None:
    change = CONTRASTS[contrast]
    data, affine = head(face=False)
    assert seen(change(data), affine).kind == "head"
    data, affine = brain()
    assert seen(change(data), affine).kind == "brain"


def rician(data: np.ndarray, sigma: float) -> np.ndarray:
    real, imaginary = RNG.normal(0, sigma, (2, *data.shape))
    return np.asarray(np.hypot(data + real, imaginary))


def mp2rage(data: np.ndarray) -> np.ndarray:
    """Noise of full range wherever there is no tissue, as a UNI image has it."""
    return np.where(data > 20, 1200 + 2.4 * data, RNG.uniform(0, 4095, data.shape))


def finer(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same in voxels of half the side."""
    place = affine.copy()
    place[:3, :3] /= 2
    place[:3, 3] -= 0.5
    return data.repeat(2, 0).repeat(2, 1).repeat(2, 2), place


@pytest.mark.parametrize("sigma", [200, 600])
def test_heads_are_told_from_brains_in_noise_of_a_good_part_of_their_range(sigma: float) -> None:
    for scan, kind in ((brain(), "brain"), (head(face=False), "head")):
        data, affine = scan
        assert seen(rician(data, sigma), affine).kind == kind


def test_an_mp2rage_image_is_what_it_shows_or_undecided_but_no_other_kind() -> None:
    bare, whole = brain(), head()
    assert seen(mp2rage(bare[0]), bare[1]).kind == "undecided"
    assert seen(mp2rage(whole[0]), whole[1]).kind == "head"
    bare = finer(*bare)
    assert seen(mp2rage(bare[0]), bare[1]).kind == "brain"


def test_a_brain_drowned_in_noise_is_undecided() -> None:
    data, affine = brain()
    assert seen(rician(data, 1200), affine).kind == "undecided"


def test_a_brain_z_scored_inside_its_mask_is_a_brain() -> None:
    data, affine = brain()
    assert seen(z_scored_in_its_mask(data), affine).kind == "brain"


def test_a_head_with_a_dim_scalp_is_a_head() -> None:
    data, affine = head(face=False)
    bare, _ = brain()
    dim = np.where(bare > 20, data, 0.3 * data)
    assert seen(dim, affine).kind == "head"


def test_a_small_head_is_a_head_though_its_scalp_lies_where_the_template_has_brain() -> None:
    data, affine = head()
    smaller = np.diag([0.8, 0.8, 0.8, 1.0])
    found = Registration(
        rigid=np.eye(4), affine=np.linalg.inv(smaller), correlation=1.0, contrast=1.0
    )
    place = smaller @ affine
    assert inspect(data, place, found, place, PAPER).kind == "head"


def test_a_face_is_seen_and_a_face_taken_away_is_not() -> None:
    whole, defaced, bare = seen(*head()), seen(*head(face=False)), seen(*brain())
    assert (whole.kind, whole.face) == ("head", True)
    assert (defaced.kind, defaced.face) == ("head", False)
    assert not bare.face


@settings(max_examples=5, deadline=None)
@given(slope=st.floats(0.01, 100), offset=st.floats(-1e4, 1e4))
def test_neither_slope_nor_offset_of_the_intensities_changes_what_is_seen(
    slope: float, offset: float
) -> None:
    data, affine = head()
    assert seen(slope * data + offset, affine) == seen(data, affine)


@pytest.mark.parametrize("degrees", [0, 10, 30])
def test_the_tilt_of_a_centred_scan_is_told_in_degrees(degrees: float) -> None:
    image, motion = turned(
        nib.Nifti1Image(*brain()), seed=2, degrees=degrees, shift=0, sides=(2, 2, 2), axes="RAS"
    )
    data, back = np.asarray(image.dataobj), np.linalg.inv(motion)
    found = Registration(rigid=back, affine=back, correlation=1.0, contrast=1.0)
    centred = placed_affine(data.shape, image.affine, PAPER, "centre")
    seen = inspect(data, image.affine, found, centred, PAPER)
    assert seen.turned == pytest.approx(degrees, abs=0.1)
    assert seen.kind == "brain"


def test_an_oblique_scan_of_a_head_upright_in_its_voxels_is_not_tilted_where_it_is_centred() -> (
    None
):
    data, affine = brain()
    motion = about_the_brain(Rotation.from_euler("x", 25, degrees=True).as_matrix())
    back = np.linalg.inv(motion)
    found = Registration(rigid=back, affine=back, correlation=1.0, contrast=1.0)
    centred = placed_affine(data.shape, motion @ affine, PAPER, "centre")
    assert inspect(data, motion @ affine, found, centred, PAPER).turned < 0.1


def test_a_registered_scan_is_neither_turned_nor_shifted() -> None:
    data, affine = brain()
    motion = about_the_brain(Rotation.from_euler("yz", (20, 10), degrees=True).as_matrix())
    motion[:3, 3] += (5, -40, 30)
    back = np.linalg.inv(motion)
    found = Registration(rigid=back, affine=back, correlation=1.0, contrast=1.0)
    seen = inspect(data, motion @ affine, found, back @ motion @ affine, PAPER)
    assert (seen.turned, seen.shifted, seen.unseen) == (0, 0, 0)
    assert seen.cut < 0.002


def test_a_shift_is_told_in_mm_and_what_it_pushes_out_of_the_grid_as_a_share() -> None:
    data, affine = brain()
    shifted = affine.copy()
    shifted[2, 3] += 40
    found = inspect(data, affine, in_place(), shifted, DEMO)
    assert found.shifted == pytest.approx(40, abs=0.1)
    above = template().origin[2] + 2 * np.nonzero(template().brain)[2] + 40
    top = DEMO.affine[2, 3] + DEMO.spacing * (DEMO.shape[2] - 0.5)
    assert found.cut == pytest.approx((above > top).mean(), abs=0.02)
    assert found.cut > 0.1


def test_what_a_mask_took_away_of_the_brain_is_a_share_of_it() -> None:
    data, affine = brain()
    top = template().origin[2] + 2 * np.nonzero(template().brain)[2].max()
    z = affine[2, 3] + 2 * np.arange(data.shape[2])
    cut = np.where(z[None, None, :] > top - 40, 0, data)
    above = template().origin[2] + 2 * np.nonzero(template().brain)[2] > top - 40
    assert seen(data, affine).taken < 0.001
    assert seen(cut, affine).taken == pytest.approx(above.mean(), abs=0.03)
    assert seen(cut - 1024, affine).taken == seen(cut, affine).taken
    assert seen(noisy(cut), affine).taken == 0  # nobody's mask


def test_fluid_inside_the_brain_was_not_taken_away() -> None:
    data, affine = brain()
    x, y, z = (a + 2 * i for a, i in zip(affine[:3, 3], np.indices(data.shape), strict=True))
    black = np.where((x / 12) ** 2 + ((y + 15) / 30) ** 2 + ((z - 12) / 12) ** 2 < 1, 0, data)
    assert seen(black, affine).taken < 0.001


def test_a_brain_that_the_scan_ends_in_is_not_all_seen() -> None:
    data, affine = brain()
    half = data.shape[2] // 2
    assert seen(data[..., :half], affine).unseen > 0.3
    assert seen(data, affine).unseen == 0


def test_what_the_grid_cuts_off_a_head_is_told() -> None:
    data, affine = head()
    lifted = affine.copy()
    lifted[2, 3] += 30
    assert seen(data, affine).head_cut < 0.03
    assert inspect(data, affine, in_place(), lifted, PAPER).head_cut > 0.03
    assert seen(*brain()).head_cut == 0


def test_the_papers_grid_holds_a_head_and_the_demos_a_brain_alone() -> None:
    assert [holds_head(preset(name).grid) for name in ("paper", "demo", "tiny")] == [
        True,
        False,
        False,
    ]


def test_an_inspection_reads_back() -> None:
    found = seen(*head())
    assert Inspection.from_json(found.to_json()) == found
