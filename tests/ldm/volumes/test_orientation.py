"""Which of a header's two forms places an image, and what is said to be doubtful about it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.volumes.conversion import NOT_NUMBERS, Scan, read_scan
from ldm.volumes.nifti import examine
from ldm.volumes.orientation import (
    DIFFER,
    GUESS,
    MIRRORED,
    PARTIAL,
    SHEARED,
    SIZES,
    THICK,
    UNUSABLE,
)

SHAPE = (30, 40, 30)
RAS = np.array([[4.0, 0, 0, -60], [0, 4, 0, -80], [0, 0, 4, -40], [0, 0, 0, 1]])


def turned(degrees: float, shift: float = 0.0) -> np.ndarray:
    """RAS, turned about the axis from feet to head and shifted to the right."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
    matrix[0, 3] = shift
    return matrix @ RAS


def written(
    folder: Path,
    *,
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    data: np.ndarray | None = None,
    **fields: Any,
) -> Path:
    """An image with these forms, then fields of its header as given, whatever nibabel thinks."""
    voxels = np.random.default_rng(0).random(SHAPE).astype(np.float32) if data is None else data
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(voxels.shape)
    header.set_zooms([4.0, 4, 4] + [1.0] * (voxels.ndim - 3))
    if sform is not None:
        header.set_sform(sform, code=1)
    if qform is not None:
        header.set_qform(qform, code=1)
    for name, value in fields.items():
        header[name] = value
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = folder / "a.nii.gz"
    path.write_bytes(
        gzip.compress(header.binaryblock + bytes(4) + voxels.tobytes(order="F"), compresslevel=1)
    )
    return path


def read(folder: Path, **parts: Any) -> Scan:
    return read_scan(written(folder, **parts))


def test_an_ordinary_image_has_nothing_doubtful(tmp_path: Path) -> None:
    for forms in ({"sform": RAS}, {"qform": RAS}, {"sform": RAS, "qform": RAS}):
        scan = read(tmp_path, **forms)
        assert scan.notes == ()
        np.testing.assert_allclose(scan.affine, RAS, atol=1e-4)


def test_without_a_form_left_and_right_are_a_guess(tmp_path: Path) -> None:
    assert read(tmp_path).notes == (GUESS,)
    # A matrix that its code says not to use is not used.
    rows = dict(zip(("srow_x", "srow_y", "srow_z"), RAS, strict=False))
    assert read(tmp_path, **rows).notes == (GUESS,)


@pytest.mark.parametrize("srow", [0.0, np.nan, 1e9])
def test_of_an_unusable_sform_the_good_qform_takes_the_place(tmp_path: Path, srow: float) -> None:
    rows = {name: [srow] * 4 for name in ("srow_x", "srow_y", "srow_z")}
    scan = read(tmp_path, qform=turned(10), sform_code=1, **rows)
    assert scan.notes == (UNUSABLE,)
    np.testing.assert_allclose(scan.affine, turned(10), atol=1e-3)


def test_an_unusable_sform_with_nothing_beside_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="unreadable image \\(voxels of 0 x 0 x 0 mm, expected"):
        read(tmp_path, sform_code=1)


def test_a_qform_that_is_no_rotation_does_not_hinder_a_good_sform(tmp_path: Path) -> None:
    scan = read(tmp_path, sform=RAS, qform_code=1, quatern_b=3.0)
    np.testing.assert_allclose(scan.affine, RAS)
    with pytest.raises(LdmError, match="its affine is not finite"):
        read(tmp_path, qform_code=1, quatern_b=3.0)


@pytest.mark.parametrize(
    ("other", "notes"),
    [
        (turned(0.0, 0.9), ()),
        (turned(0.0, 1.1), (DIFFER,)),
        (turned(0.5), ()),
        (turned(1.5), (DIFFER,)),
        (turned(180.0), (DIFFER,)),
        (np.diag([-1.0, 1, 1, 1]) @ RAS, (DIFFER, MIRRORED)),
    ],
)
def test_forms_that_differ_are_told_and_the_sform_is_used(
    tmp_path: Path, other: np.ndarray, notes: tuple[str, ...]
) -> None:
    scan = read(tmp_path, sform=RAS, qform=other)
    assert scan.notes == notes
    np.testing.assert_allclose(scan.affine, RAS)


def test_a_sheared_affine_is_told(tmp_path: Path) -> None:
    for slope, notes in ((0.005, ()), (0.1, (SHEARED,))):
        sheared = RAS.copy()
        sheared[0, 1] = slope * 4
        assert read(tmp_path, sform=sheared).notes == notes


def test_an_sform_of_other_voxels_than_pixdim_is_told(tmp_path: Path) -> None:
    assert read(tmp_path, sform=RAS, pixdim=[1, 2, 2, 2, 0, 0, 0, 0]).notes == (SIZES,)


def test_what_nibabel_mends_in_a_header_stays_off_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert read(tmp_path, sform=RAS, pixdim=[1, 0, 0, 0, 0, 0, 0, 0]).notes == (SIZES,)
    assert capfd.readouterr() == ("", "")


def test_a_slab_and_thick_slices_are_told(tmp_path: Path) -> None:
    slab = np.random.default_rng(0).random((60, 60, 12)).astype(np.float32)
    thick = np.diag([3.0, 3.0, 8.0, 1.0])
    found = read(tmp_path, data=slab, sform=thick, pixdim=[1, 3, 3, 8, 0, 0, 0, 0])
    assert found.notes == (THICK,)
    found = read(tmp_path, data=slab, sform=RAS)
    assert found.notes == (PARTIAL,)


@pytest.mark.parametrize("tail", [(1,), (1, 1), (1, 1, 1, 1)])
def test_a_series_of_one_volume_is_that_volume(tmp_path: Path, tail: tuple[int, ...]) -> None:
    data = np.random.default_rng(1).random(SHAPE).astype(np.float32)
    scan = read(tmp_path, data=data.reshape(SHAPE + tail), sform=RAS)
    np.testing.assert_array_equal(scan.data, data)
    with pytest.raises(LdmError, match=r"a 4-D image \(30 x 40 x 30 x 2\), expected 3-D"):
        read(tmp_path, data=np.stack([data, data], axis=-1), sform=RAS)


def test_the_header_alone_tells_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, sform=RAS, qform=turned(20))
    place = examine(path)
    assert (place.shape, place.notes) == (SHAPE, (DIFFER,))
    path.write_bytes(path.read_bytes()[:2000])  # voxels cut off
    np.testing.assert_array_equal(examine(path).affine, place.affine)


# ------------------------------------------------------------------- voxels that are no numbers


def masked(outside: float, least: float = 100.0) -> np.ndarray:
    """A bright box with `outside` around it."""
    data = np.full(SHAPE, outside, np.float32)
    data[5:25, 5:35, 5:25] = least + np.random.default_rng(0).random((20, 30, 20))
    return data


@pytest.mark.parametrize("outside", [np.nan, np.inf, -np.inf])
def test_a_background_that_is_no_number_is_dark(tmp_path: Path, outside: float) -> None:
    for least, dark in ((100.0, 0.0), (-3.0, -3.0)):
        scan = read(tmp_path, data=masked(outside, least), sform=RAS)
        assert scan.notes == (NOT_NUMBERS,)
        assert scan.data[0, 0, 0] == pytest.approx(dark, abs=0.01)
        assert scan.data.min() == scan.data[0, 0, 0]
        assert np.isfinite(scan.data).all()


def test_a_mask_may_have_a_few_holes_and_a_head_none(tmp_path: Path) -> None:
    holes = masked(np.nan)
    holes[10:12, 10, 10] = np.nan
    assert read(tmp_path, data=holes, sform=RAS).data[10, 10, 10] == 0
    holes[10:16, 10:16, 10:16] = np.nan
    for data in (holes, np.full(SHAPE, np.nan, np.float32)):
        with pytest.raises(LdmError, match="voxels that are not finite numbers"):
            read(tmp_path, data=data, sform=RAS)
    whole = masked(0.0)
    whole[10, 10, 10] = np.nan
    with pytest.raises(LdmError, match="voxels that are not finite numbers"):
        read(tmp_path, data=whole, sform=RAS)
