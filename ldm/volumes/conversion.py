"""Volumes: from any NIfTI image to a model's grid, and from a model's output to NIfTI bytes."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ldm.errors import LdmError
from ldm.volumes.grid import Grid
from ldm.volumes.nifti import open_nifti

# Intensities are 12-bit: 0..4095 stands for 0..1, on disk as int16 with scl_slope 1/4095.
LEVELS = 4095
# What a 12-bit volume holds where the network's output was not a finite number.
NOT_FINITE = 65535

PLACEMENTS = ("centre", "affine")


def read_image(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (X, Y, Z) float32 and affine (4, 4), reoriented to the closest RAS axes.

    Raises:
        LdmError: not a readable NIfTI file, not 3-D, larger than any scan of a head, values that
            are not finite, or empty.
    """
    image: Any = nib.as_closest_canonical(open_nifti(path))
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes of it is told below
        data = np.asarray(image.dataobj, dtype=np.float32)
    if not np.isfinite(data).all():
        raise LdmError("voxels that are not finite numbers")
    if not data.size or data.max() <= data.min():
        raise LdmError("empty volume: every voxel has the same value")
    return data, np.asarray(image.affine, dtype=np.float64)


def to_grid(
    data: np.ndarray, affine: np.ndarray, grid: Grid, *, placement: str = "centre", order: int = 1
) -> np.ndarray:
    """Voxels of a RAS image on `grid`, float32 in [0, 1], smoothed first where it gets coarser.

    Args:
        data: (X, Y, Z) float32, axes already closest to RAS.
        affine: (4, 4) voxel to world, mm.
        placement: "centre" puts the middle of the image in the middle of the grid (cropped or
            padded around it); "affine" trusts the image to be in MNI space.
        order: of the interpolation, 1 linear; 3 (cubic) keeps fine detail of an image that is
            turned and not made coarser.

    Raises:
        LdmError: an unknown placement, or nothing of the image lies on the grid.
    """
    from scipy.ndimage import affine_transform, gaussian_filter

    world = placed_affine(data.shape, affine, grid, placement)
    sides = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    # Full width at half maximum of the coarser voxel, less that of the finer one.
    sigma = np.sqrt(np.maximum((grid.spacing / sides) ** 2 - 1, 0)) / 2.355
    if sigma.max() > 0.1:
        data = gaussian_filter(data, sigma)
    matrix = np.linalg.inv(world) @ grid.affine
    resampled = affine_transform(
        data, matrix[:3, :3], matrix[:3, 3], grid.shape, order=order, mode="grid-constant", cval=0.0
    )
    return rescale(resampled)


def placed_affine(
    shape: tuple[int, ...], affine: np.ndarray, grid: Grid, placement: str
) -> np.ndarray:
    """Voxels of a RAS image of this shape and affine to the grid's mm, (4, 4); see `to_grid`.

    Raises:
        LdmError: an unknown placement.
    """
    if placement not in PLACEMENTS:
        raise LdmError(f"placement {placement!r}: expected one of {', '.join(PLACEMENTS)}")
    if placement == "affine":
        return affine
    sides = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    world = np.diag([*sides, 1.0])
    world[:3, 3] = np.array(grid.centre) - sides * (np.array(shape) - 1) / 2
    return world


def rescale(data: np.ndarray) -> np.ndarray:
    """Intensities to [0, 1]: the 0.1 and 99.9 percentiles become 0 and 1, beyond is clipped.

    Raises:
        LdmError: nothing is left between them.
    """
    low, high = np.percentile(data, (0.1, 99.9))
    if not high > low:
        raise LdmError("empty volume on the grid: no contrast left after cropping")
    return np.asarray(np.clip((data - low) / (high - low), 0, 1), dtype=np.float32)


def quantise(volume: np.ndarray) -> np.ndarray:
    """Intensities in [0, 1], clipped, as uint16 0..4095; NaN and infinity as `NOT_FINITE`."""
    levels = np.rint(np.clip(np.nan_to_num(volume), 0, 1) * LEVELS).astype(np.uint16)
    levels[~np.isfinite(volume)] = NOT_FINITE
    return levels


def dequantise(levels: np.ndarray) -> np.ndarray:
    """The inverse of `quantise`: float32 in [0, 1]."""
    return levels.astype(np.float32) / LEVELS


def to_image(levels: np.ndarray, grid: Grid) -> nib.Nifti1Image:
    """A nibabel image of a 12-bit volume (X, Y, Z) uint16: float32 in [0, 1], NaN where marked."""
    data = dequantise(levels)
    data[levels == NOT_FINITE] = np.nan
    return _placed(data, grid)


def to_nifti_bytes(levels: np.ndarray, grid: Grid) -> bytes:
    """The `.nii.gz` file of a 12-bit volume (X, Y, Z) uint16: equal input, equal bytes."""
    from isal import igzip

    voxels = levels.astype("<i2").tobytes(order="F")
    data = _nifti_header(grid, levels.shape) + voxels
    compressed: bytes = igzip.compress(data, compresslevel=1, mtime=0)
    return compressed


@lru_cache(maxsize=8)
def _nifti_header(grid: Grid, shape: tuple[int, ...]) -> bytes:
    """All that stands before the voxels of a released file; every volume of a grid has the same."""
    image = _placed(np.zeros(shape, dtype="<i2"), grid)
    header: Any = image.header
    header.set_slope_inter(1 / LEVELS, 0)
    data: bytes = image.to_bytes()
    return data[: len(data) - 2 * math.prod(shape)]


def _placed(data: np.ndarray, grid: Grid) -> nib.Nifti1Image:
    """An image of `data` (X, Y, Z), with its place in the grid's space and its range of display."""
    image = nib.Nifti1Image(data, grid.affine)
    header: Any = image.header
    header.set_xyzt_units("mm")
    header.set_sform(grid.affine, code=grid.nifti_code)
    header.set_qform(grid.affine, code=grid.nifti_code)
    header["cal_min"], header["cal_max"] = 0.0, 1.0
    return image


def read_volume(path: Path) -> np.ndarray:
    """A prepared volume (X, Y, Z) as float32 in [0, 1]."""
    return dequantise(np.load(path, mmap_mode="r"))
