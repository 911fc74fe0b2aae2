"""Registering scans of any orientation to MNI152: real anatomy, turned, shifted and stretched."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ldm.anatomy.pyramid import SPACING, template
from ldm.anatomy.registration import register
from ldm.errors import LdmError
from ldm.volumes.conversion import read_image
from tests.ldm.heads import difference, turned

# Where Debian's mricron-data puts Colin27, a real whole head.
HEAD = Path(os.environ.get("BRAINPRESS_TEST_HEAD", "/usr/share/mricron/templates/ch2.nii.gz"))


def brain() -> nib.Nifti1Image:
    """The template's brain at 2 mm, in place."""
    place = np.diag([SPACING] * 3 + [1.0])
    place[:3, 3] = template().origin
    import SimpleITK as sitk

    return nib.Nifti1Image(sitk.GetArrayFromImage(template().t1[2]).T, place)


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


def test_what_is_no_head_is_refused() -> None:
    rng = np.random.default_rng(0)
    squares = sum((i - 30.0) ** 2 for i in np.indices((60, 60, 60)))
    ball = ((squares < 20**2) + 0.1 * rng.random((60, 60, 60))).astype(np.float32)
    with pytest.raises(LdmError, match="registration failed: "):
        register(ball, np.diag([4.0, 4.0, 4.0, 1.0]))
    with pytest.raises(LdmError, match="registration failed: two grey levels only"):
        register((squares < 20**2).astype(np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))
