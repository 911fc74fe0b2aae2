"""Registering scans of any orientation to MNI152: real anatomy, turned, shifted and stretched."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ldm.anatomy.fit import fit
from ldm.anatomy.pyramid import template, working_image
from ldm.anatomy.registration import LEAST_CONTRAST, LEAST_COVERED, register
from ldm.errors import LdmError
from ldm.volumes.background import settled
from ldm.volumes.conversion import read_image
from tests.ldm.heads import brain, difference, turned, whole_head

# Where Debian's mricron-data puts Colin27, a real whole head.
HEAD = Path(os.environ.get("BRAINPRESS_TEST_HEAD", "/usr/share/mricron/templates/ch2.nii.gz"))


def test_a_turned_shifted_brain_of_long_voxels_comes_back_to_the_template(tmp_path: Path) -> None:
    image, moved = turned(brain(), seed=3, degrees=40, shift=40, sides=(2.0, 2.0, 3.0), axes="PIR")
    assert nib.aff2axcodes(image.affine) == ("P", "I", "R")
    nib.save(image, tmp_path / "a.nii.gz")
    data, affine = read_image(tmp_path / "a.nii.gz")
    found, again = register(data, affine), register(data, affine)
    degrees, millimetres = difference(found.rigid @ moved, np.eye(4))
    assert degrees < 0.5
    assert millimetres < 0.5
    assert found.head_scale == pytest.approx(1, abs=0.05)
    assert found.correlation > 0.95
    assert np.array_equal(found.rigid, again.rigid)
    assert np.array_equal(found.affine, again.affine)


def test_a_smaller_head_is_moved_but_not_scaled() -> None:
    small = brain()
    stretch = np.diag([0.9, 0.85, 0.88, 1.0])
    found = register(np.asarray(small.dataobj), stretch @ small.affine)
    np.testing.assert_allclose(found.rigid[:3, :3] @ found.rigid[:3, :3].T, np.eye(3), atol=1e-9)
    assert found.head_scale == pytest.approx(1 / np.linalg.det(stretch), rel=0.03)
    placed = (found.rigid @ stretch @ [*template().centre, 1])[:3]
    np.testing.assert_allclose(placed, template().centre, atol=1)


@pytest.mark.skipif(not HEAD.is_file(), reason=f"no whole head at {HEAD} (Debian: mricron-data)")
def test_a_whole_head_turned_comes_back_to_where_it_lay() -> None:
    head = nib.load(HEAD)
    still = register(*read_image(HEAD))
    image, moved = turned(head, seed=5, degrees=35, shift=30, sides=(1.2, 1.2, 2.0), axes="LAS")
    ras = nib.as_closest_canonical(image)
    found = register(np.asarray(ras.dataobj, dtype=np.float32), ras.affine)
    degrees, millimetres = difference(found.rigid @ moved, still.rigid)
    assert (degrees < 1, millimetres < 1) == (True, True), (degrees, millimetres)


def test_a_small_defaced_head_with_a_long_neck_and_a_bright_scalp_comes_back() -> None:
    """Its scalp lies where the template's brain has its edge, and the neck pulls it down."""
    small = np.diag([0.87, 0.87, 0.87, 1.0])
    head = whole_head(defaced=True, neck=110)
    shrunk = nib.Nifti1Image(np.asarray(head.dataobj), small @ head.affine)
    image, moved = turned(shrunk, seed=1, degrees=12, shift=30, sides=(2.0, 2.0, 2.0), axes="RAS")
    data, _ = settled(np.asarray(image.dataobj, dtype=np.float32))
    found = register(data, image.affine)
    middle = template().centre
    expected = np.eye(4)
    expected[:3, 3] = middle - 0.87 * middle  # a rigid motion about the template's middle
    degrees, millimetres = difference(found.rigid @ moved, expected)
    assert (degrees < 1, millimetres < 2) == (True, True), (degrees, millimetres)
    assert found.head_scale == pytest.approx(0.87**-3, rel=0.06)
    assert found.contrast > 0.6


def t2w(data: np.ndarray) -> np.ndarray:
    """A brain of 0..1 with bright fluid and dark white matter."""
    return np.where(data > 0.02, 1.05 - 0.8 * data, 0).astype(np.float32)


def half(data: np.ndarray) -> np.ndarray:
    cut = data.copy()
    cut[: len(cut) // 2] = 0
    return cut


REFUSED = {
    "a T2w scan": t2w,
    "a header that is upside down": lambda data: data[:, ::-1, ::-1],
    "half a head": half,
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_whole_upright_t1w_scan_is_refused(what: str) -> None:
    data = REFUSED[what](np.asarray(brain().dataobj))
    with pytest.raises(LdmError, match=r"^registration failed: (correlation|the (scan|head))"):
        register(data, brain().affine)


def fitted(data: np.ndarray, matrix: np.ndarray | None = None) -> tuple[float, float]:
    """How well a scan in the brain's place fits when `matrix` is held for its registration."""
    scan = working_image(settled(data)[0], brain().affine)
    found = fit(np.eye(4) if matrix is None else matrix, scan)
    return found.contrast, found.covered


def test_the_fit_sees_contrast_not_the_outline_and_no_bias_field() -> None:
    data = np.asarray(brain().dataobj)
    assert fitted(data) == (pytest.approx(1, abs=0.1), pytest.approx(1, abs=0.01))
    uneven = data * np.linspace(0.3, 2, data.shape[1])[:, None]
    assert fitted(uneven)[0] > 0.85
    noisy = data + np.random.default_rng(0).normal(0, 0.1, data.shape).astype(np.float32)
    assert fitted(np.where(data > 0, noisy, 0))[0] > 0.7
    assert fitted(t2w(data))[0] < -0.5
    assert fitted((data > 0.02) * (0.9 + 0.1 * data))[0] > 0.9  # faint, but there
    assert fitted(half(data))[1] < LEAST_COVERED - 0.2
    for axes in (np.s_[::-1, ::-1], np.s_[:, ::-1, ::-1], np.s_[:, :, ::-1]):
        assert fitted(np.ascontiguousarray(data[axes]))[0] < LEAST_CONTRAST


@pytest.mark.parametrize("shift", [(10, 0, 0), (0, 10, 0), (0, 0, 10)])
def test_a_centimetre_off_is_no_fit(shift: tuple[float, float, float]) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    assert fitted(np.asarray(brain().dataobj), matrix)[0] < LEAST_CONTRAST


def test_what_is_no_head_is_refused() -> None:
    rng = np.random.default_rng(0)
    squares = sum((i - 30.0) ** 2 for i in np.indices((60, 60, 60)))
    ball = ((squares < 20**2) + 0.1 * rng.random((60, 60, 60))).astype(np.float32)
    with pytest.raises(LdmError, match="registration failed: "):
        register(ball, np.diag([4.0, 4.0, 4.0, 1.0]))
    with pytest.raises(LdmError, match="registration failed: two grey levels only"):
        register((squares < 20**2).astype(np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))
