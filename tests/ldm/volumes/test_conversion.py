"""From any NIfTI file to the grid, and from a volume to NIfTI bytes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm.errors import LdmError
from ldm.volumes.conversion import (
    LEVELS,
    NOT_FINITE,
    dequantise,
    quantise,
    read_image,
    rescale,
    to_grid,
    to_image,
    to_nifti_bytes,
)
from ldm.volumes.grid import Grid

GRID = Grid(shape=(16, 24, 16), spacing=4.0)
LEVELS_3D = np.arange(16 * 24 * 16, dtype=np.uint16).reshape(GRID.shape) % (LEVELS + 1)


def ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius: float) -> np.ndarray:
    """A bright ball with a soft edge, float32."""
    squares = sum((i - c) ** 2 for i, c in zip(np.indices(shape), centre, strict=True))
    return (1 / (1 + np.exp(np.sqrt(squares) - radius))).astype(np.float32)


def affine(side: float, origin: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    matrix = np.diag([side, side, side, 1.0])
    matrix[:3, 3] = origin
    return matrix


def saved(path: Path, data: np.ndarray, matrix: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(data, affine(2.0) if matrix is None else matrix), path)
    return path


def centre_of_mass(volume: np.ndarray) -> np.ndarray:
    return np.array([(i * volume).sum() for i in np.indices(volume.shape)]) / volume.sum()


def test_a_larger_image_is_cropped_around_its_middle() -> None:
    data = np.random.default_rng(0).random((20, 26, 30), dtype=np.float32)
    found = to_grid(data, affine(4.0), GRID)
    np.testing.assert_allclose(found, rescale(data[2:18, 1:25, 7:23]), atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1.0, -1024.0])
def test_a_smaller_image_is_padded_with_its_background_around_its_middle(offset: float) -> None:
    data = np.pad(1 + np.random.default_rng(0).random((10, 18, 8), dtype=np.float32), 1)
    found = to_grid(data + np.float32(offset), affine(4.0), GRID)
    padded = np.pad(data, ((2, 2), (2, 2), (3, 3)))
    np.testing.assert_allclose(found, rescale(padded), atol=1e-4)


def test_placement_affine_trusts_where_the_image_says_it_lies() -> None:
    data = ball((30, 40, 30), (9, 25, 14), 4)
    world = affine(2.0, (-30.0, -50.0, -20.0))
    found = to_grid(data, world, GRID, placement="affine")
    millimetres = (GRID.affine @ [*centre_of_mass(found), 1])[:3]
    assert millimetres == pytest.approx([-12.0, 0.0, 8.0], abs=0.2)


def test_placement_centre_ignores_where_the_image_says_it_lies() -> None:
    data = ball((30, 40, 30), (9, 25, 14), 4)
    near, far = (to_grid(data, affine(2.0, at), GRID) for at in ((0, 0, 0), (500, -900, 4)))
    np.testing.assert_array_equal(near, far)


def test_voxels_of_unequal_sides_keep_the_head_round() -> None:
    x, y, z = np.indices((64, 48, 16))
    data = (((x - 31.5) ** 2 + ((y - 23.5) * 2) ** 2 + ((z - 7.5) * 4) ** 2) < 20**2) * 1.0
    found = to_grid(data.astype(np.float32), np.diag([1.0, 2.0, 4.0, 1.0]), GRID) > 0.5
    extent = [np.ptp(axis) + 1 for axis in np.nonzero(found)]
    assert np.ptp(extent) <= 1, extent


def test_stripes_finer_than_the_grid_become_grey_not_moire() -> None:
    """Voxels 2, 6, 10... lie on the grid's: without smoothing they alone would be seen."""
    data = np.zeros((65, 97, 65), dtype=np.float32)
    data[4:30, 4:92, 4:60] = 0.5
    data[34:60, 4:92, 4:60] = np.indices((26, 88, 56)).sum(axis=0) % 2
    found = to_grid(data, affine(1.0), GRID)
    grey, stripes = found[3:6, 3:21, 3:13], found[10:13, 3:21, 3:13]
    assert stripes.mean() == pytest.approx(grey.mean(), rel=0.02)
    assert stripes.std() < 0.02


def test_intensities_span_zero_to_one_whatever_they_were() -> None:
    data = ball((40, 50, 40), (20, 25, 20), 12)
    plain, scaled = (to_grid(v, affine(2.0), GRID) for v in (data, 700 * data - 30))
    assert (plain.min(), plain.max(), plain.dtype) == (0, 1, np.float32)
    np.testing.assert_allclose(scaled, plain, atol=1e-5)


def turned(degrees: float, shift: float) -> np.ndarray:
    """An affine of 3 mm voxels about the grid's middle."""
    matrix = np.eye(4)
    a = np.radians(degrees)
    matrix[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    middle = np.eye(4)
    middle[:3, 3] = np.array(GRID.centre) + shift
    return middle @ matrix @ affine(3.0, (-34.5, -43.5, -34.5))


@given(st.floats(-60, 60), st.floats(-6, 6), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_cubic_interpolation_neither_darkens_nor_brightens_beyond_the_voxels_around(
    degrees: float, shift: float, seed: int
) -> None:
    """A masked scan of strong contrasts: what linear interpolation leaves black stays black."""
    rng = np.random.default_rng(seed)
    data = np.where(ball((24, 30, 24), (12, 14, 11), 8) > 0.5, rng.uniform(1, 2, (24, 30, 24)), 0)
    cubic, linear = (
        to_grid(data.astype(np.float32), turned(degrees, shift), GRID, placement="affine", order=n)
        for n in (3, 1)
    )
    assert (quantise(cubic)[linear == 0] == 0).all()
    assert np.median(cubic[linear == 0]) == 0
    assert (cubic[linear > 0.2] > 0).all()


@pytest.mark.parametrize("shift", [0.0, 1.5, 3.0])
def test_voxels_that_fall_on_voxels_are_taken_as_they_are(shift: float) -> None:
    data = np.where(ball((24, 30, 24), (12, 14, 11), 8) > 0.5, 1.5, 0).astype(np.float32)
    cubic, linear = (
        to_grid(data, turned(0.0, shift), GRID, placement="affine", order=n) for n in (3, 1)
    )
    assert (quantise(cubic)[linear == 0] == 0).all()


def test_cubic_interpolation_keeps_detail_that_linear_loses() -> None:
    wave = 1 + np.cos(2 * np.pi * np.indices((40, 50, 40)).sum(axis=0) / 9)
    data = (ball((40, 50, 40), (20, 25, 20), 15) * wave).astype(np.float32)
    data[data < 0.01] = 0
    grid = Grid(shape=(30, 40, 30), spacing=3.0)
    place = turned(20, 0) @ affine(1.0, (-8.0, -10.0, -8.0))
    cubic, linear = (to_grid(data, place, grid, placement="affine", order=n) for n in (3, 1))
    assert np.abs(np.gradient(cubic)).mean() > 1.04 * np.abs(np.gradient(linear)).mean()


def test_an_unknown_placement_is_refused() -> None:
    with pytest.raises(LdmError, match="placement 'left': expected one of centre, affine"):
        to_grid(ball((9, 9, 9), (4, 4, 4), 2), affine(4.0), GRID, placement="left")


def test_an_image_that_lies_elsewhere_is_told() -> None:
    with pytest.raises(LdmError, match="empty volume on the grid"):
        to_grid(ball((9, 9, 9), (4, 4, 4), 2), affine(4.0, (900, 0, 0)), GRID, placement="affine")


def test_a_series_of_volumes_is_refused_with_its_shape(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii.gz", np.ones((8, 9, 10, 3), dtype=np.float32))
    with pytest.raises(LdmError, match=r"a 4-D image \(8 x 9 x 10 x 3\), expected 3-D"):
        read_image(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    data = np.random.default_rng(0).random((8, 8, 8), dtype=np.float32)
    data[3, 3, 3] = bad
    with pytest.raises(LdmError, match="not finite"):
        read_image(saved(tmp_path / "a.nii.gz", data))


@pytest.mark.parametrize("shape", [(8, 8, 8), (0, 8, 8)])
def test_an_empty_volume_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(LdmError, match="empty volume"):
        read_image(saved(tmp_path / "a.nii.gz", np.full(shape, 7, dtype=np.float32)))


@pytest.mark.parametrize("kept", [0, 5, 200, 4_000])
def test_a_truncated_file_is_unreadable(tmp_path: Path, kept: int) -> None:
    path = saved(
        tmp_path / "a.nii.gz", np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
    )
    whole = path.read_bytes()
    assert len(whole) > kept + 1_000
    path.write_bytes(whole[:kept])
    with pytest.raises(LdmError, match="unreadable image") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["notes.txt", "notes.nii", "notes.nii.gz"])
def test_a_text_file_is_unreadable_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("ceci n'est pas une image\n" * 40)
    with pytest.raises(LdmError, match="unreadable image") as caught:
        read_image(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="no such file"):
        read_image(tmp_path / "absent.nii.gz")
    with pytest.raises(LdmError, match="unreadable image"):
        read_image(tmp_path)


def test_colours_and_a_flat_affine_are_unreadable(tmp_path: Path) -> None:
    colours = np.zeros((8, 8, 8), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    flat = nib.Nifti1Image(ball((8, 8, 8), (4, 4, 4), 2), None)
    flat.set_sform(np.diag([2.0, 2.0, 0.0, 1.0]), code=1)
    nib.save(nib.Nifti1Image(colours, affine(2.0)), tmp_path / "colours.nii.gz")
    nib.save(flat, tmp_path / "flat.nii.gz")
    for name in ("colours", "flat"):
        with pytest.raises(LdmError, match="unreadable image"):
            read_image(tmp_path / f"{name}.nii.gz")


def test_equal_volumes_give_equal_bytes() -> None:
    assert to_nifti_bytes(LEVELS_3D, GRID) == to_nifti_bytes(LEVELS_3D.copy(order="F"), GRID)


def test_a_file_has_the_bytes_that_nibabel_gives_it() -> None:
    """Its header is made once for a grid; nibabel, asked to write each volume, is the oracle."""
    for grid in (GRID, Grid(shape=(9, 10, 11), spacing=1.5)):
        levels = np.random.default_rng(0).integers(0, LEVELS + 1, grid.shape, dtype=np.uint16)
        image = nib.Nifti1Image(levels.astype(np.int16), grid.affine)
        image.header.set_xyzt_units("mm")
        image.set_sform(grid.affine, code="mni")
        image.set_qform(grid.affine, code="mni")
        image.header["cal_min"], image.header["cal_max"] = 0.0, 1.0
        image.header.set_slope_inter(1 / LEVELS, 0)
        assert gzip.decompress(to_nifti_bytes(levels, grid)) == image.to_bytes()


def test_the_file_says_how_its_integers_are_meant_and_where_they_lie() -> None:
    data = to_nifti_bytes(LEVELS_3D, GRID)
    assert data[:2] == b"\x1f\x8b"
    assert data[4:8] == bytes(4)  # no time of writing
    image = nib.Nifti1Image.from_stream(io.BytesIO(gzip.decompress(data)))
    header = image.header
    assert header.get_data_dtype() == np.int16
    assert np.float32(image.dataobj.slope) == np.float32(1 / 4095)
    assert image.dataobj.inter == 0
    assert header.get_xyzt_units()[0] == "mm"
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 4)  # MNI 152
    np.testing.assert_allclose(header.get_sform(), GRID.affine)
    np.testing.assert_allclose(header.get_qform(), GRID.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(image.dataobj.get_unscaled()), LEVELS_3D)


def test_a_volume_comes_back_from_disk(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(to_nifti_bytes(LEVELS_3D, GRID))
    data, world = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(world, GRID.affine)
    np.testing.assert_array_equal(quantise(data), LEVELS_3D)
    found = to_grid(data, world, GRID, placement="affine")
    np.testing.assert_allclose(found, rescale(dequantise(LEVELS_3D)), atol=1e-5)


def test_an_image_in_memory_holds_intensities_not_levels_and_so_does_its_file(
    tmp_path: Path,
) -> None:
    levels = LEVELS_3D.copy()
    levels[0, 0, 0] = NOT_FINITE
    image = to_image(levels, GRID)
    nib.save(image, tmp_path / "a.nii.gz")
    for found in (image, nib.load(tmp_path / "a.nii.gz")):
        data = found.get_fdata()
        np.testing.assert_array_equal(quantise(data), levels)
        assert (np.isnan(data[0, 0, 0]), np.nanmax(data)) == (True, 1.0)
        assert nib.aff2axcodes(found.affine) == ("R", "A", "S")
        assert int(found.header["sform_code"]) == 4


def test_what_is_not_finite_is_marked_and_the_rest_is_clipped() -> None:
    volume = np.array([-0.5, 0, 0.5, 1, 1.5, np.nan, np.inf, -np.inf], dtype=np.float32)
    found = quantise(volume)
    assert found.tolist() == [0, 0, 2048, LEVELS, LEVELS, NOT_FINITE, NOT_FINITE, NOT_FINITE]
    assert np.isnan(volume[5])  # the input is left alone
