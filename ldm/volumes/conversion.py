"""Volumes: from any NIfTI image to a model's grid, and from a model's output to NIfTI bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from ldm.errors import LdmError
from ldm.volumes.background import background, settled
from ldm.volumes.brightness import levelled
from ldm.volumes.grid import Grid
from ldm.volumes.nifti import open_framed
from ldm.volumes.resampling import smoothed_for

# Intensities are 12-bit: 0..4095 stands for 0..1, on disk as int16 with scl_slope 1/4095.
LEVELS = 4095
# What a 12-bit volume holds where the network's output was not a finite number.
NOT_FINITE = 65535

PLACEMENTS = ("centre", "affine")


NOT_NUMBERS = "not-a-number-background"
_HOLES = 0.01  # of the voxels that are numbers: so many may be none inside a masked head


@dataclass(frozen=True, kw_only=True)
class Scan:
    """An image as it is read: (X, Y, Z) float32, its affine, mm, and codes of what is doubtful."""

    data: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...]


def read_image(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (X, Y, Z) float32 and affine (4, 4) of `read_scan`, which raises the same."""
    scan = read_scan(path)
    return scan.data, scan.affine


def read_scan(path: Path) -> Scan:
    """An image, reoriented to the closest RAS axes.

    Raises:
        LdmError: not a readable NIfTI file, not 3-D, larger than any scan of a head, values in
            the head that are not finite, or empty.
    """
    found, place = open_framed(path)
    image: Any = nib.as_closest_canonical(found)
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes of it is told below
        data = np.asarray(image.dataobj, dtype=np.float32)
    notes = place.notes
    if data.size and not (known := np.isfinite(data)).all():
        data = _filled(data, known)
        notes = (*notes, NOT_NUMBERS)
    if not data.size or data.max() <= data.min():
        raise LdmError("empty volume: every voxel has the same value")
    return Scan(data=data, affine=np.asarray(image.affine, dtype=np.float64), notes=notes)


def _filled(data: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`data` with 0, or its smallest value if that is less, where a mask left no numbers.

    What is not finite has to reach the edge of the image; a mask that does may have a few holes.

    Raises:
        LdmError: voxels inside the head are not finite.
    """
    from scipy.ndimage import label

    parts, _ = label(~known)
    faces = [np.take(parts, at, axis).ravel() for axis in range(3) for at in (0, -1)]
    outer = np.setdiff1d(np.concatenate(faces), [0])
    holes = int((~known & ~np.isin(parts, outer)).sum())
    if not known.any() or not len(outer) or holes > _HOLES * known.sum():
        raise LdmError("voxels that are not finite numbers")
    return np.where(known, data, np.minimum(data[known].min(), 0)).astype(np.float32)


def to_grid(
    data: np.ndarray, affine: np.ndarray, grid: Grid, *, placement: str = "centre", order: int = 1
) -> np.ndarray:
    """Voxels of a RAS image on `grid`, float32 in [0, 1], smoothed first where it gets coarser.

    Its background (`ldm.volumes.background`) becomes 0, also where the grid reaches beyond the
    image; what is far brighter than tissue is made less so (`ldm.volumes.brightness`). No voxel
    leaves the range of the eight around its place in the (smoothed) image, so cubic interpolation
    rings neither below the darkest tissue nor over a mask's edge.

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

    world = placed_affine(data.shape, affine, grid, placement)
    data, _ = levelled(settled(data)[0])
    outside = background(data)
    matrix = np.linalg.inv(world) @ grid.affine
    smooth = smoothed_for(grid.spacing, data, affine)
    resampled = _interpolated(smooth, matrix, grid.shape, order, outside.value)
    return rescale(resampled, outside.value if outside.darkest else None)


_TIE = 1e-6  # voxels


def _interpolated(
    data: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], order: int, outside: float
) -> np.ndarray:
    """`data` at `matrix` (4, 4) times each index of `shape`, between its eight neighbours there."""
    from scipy.ndimage import affine_transform, maximum_filter, minimum_filter

    padded = np.pad(data, 1, constant_values=outside)
    turn, origin = matrix[:3, :3], matrix[:3, 3] + 1

    def at(volume: np.ndarray, origin: np.ndarray, order: int) -> np.ndarray:
        return affine_transform(
            volume, turn, origin, shape, order=order, mode="grid-constant", cval=outside
        )

    found = at(padded, origin, order)
    if order > 1:
        # The nearest voxel to half a voxel back is the first of the eight; of a place that lies on
        # a plane of voxels either side's eight would do, and only what both allow is kept.
        bounds = [of_two(padded, 2, origin=-1) for of_two in (minimum_filter, maximum_filter)]
        for back in (0.5 - _TIE, 0.5 + _TIE):
            least, most = (at(bound, origin - back, 0) for bound in bounds)
            found = np.clip(found, least, most)
    return found


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
    sides = voxel_sizes(affine)
    world = np.diag([*sides, 1.0])
    world[:3, 3] = np.array(grid.centre) - sides * (np.array(shape) - 1) / 2
    return world


def rescale(data: np.ndarray, darkest: float | None = None) -> np.ndarray:
    """Intensities to [0, 1]: the 0.1 and 99.9 percentiles become 0 and 1, beyond is clipped.

    Args:
        data: any shape.
        darkest: becomes 0 instead, where the 0.1 percentile is below.

    Raises:
        LdmError: nothing is left between them.
    """
    low, high = np.percentile(data, (0.1, 99.9))
    low = low if darkest is None else max(low, darkest)
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
