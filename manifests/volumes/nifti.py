"""Whether the bytes of one image are a sound NIfTI volume, and on which grid."""

from __future__ import annotations

import gzip
import io
import math
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from manifests.errors import ReleaseError

HEADER_BYTES = 348
MOST_OFFSET = 2**20  # where the voxels begin; before them is room for header extensions
MOST_VOXEL_BYTES = 256 * 2**20  # of 12-bit voxels a cube of 512
LARGE_BYTES = 64 * 2**20
# What nibabel raises on a header that is none.
BROKEN = (HeaderDataError, WrapStructError, ValueError, KeyError, OverflowError)
_one_large = threading.Lock()  # so that several large images are not in memory at once


class Geometry(NamedTuple):
    """What all images of a release have in common."""

    shape: tuple[int, ...]
    affine: tuple[float, ...]  # voxel to mm, the upper three rows, row by row
    dtype: str
    slope: float
    intercept: float


class _UnsoundError(Exception):
    """What is wrong with an image."""


def check_volume(data: bytes) -> tuple[Geometry | None, str | None]:
    """The geometry of a gzipped NIfTI-1 file, if it can be told, and what is wrong with it.

    Sound is: whole (gzip's own checksum), 3-D, a finite affine that can be inverted, finite values
    that are not all the same. No more is unpacked than the header asks for, and no more than
    `MOST_VOXEL_BYTES`; header extensions are passed over, never parsed.
    """
    try:
        with _voxels(data) as (header, values):
            return _judged(header, values)
    except (OSError, EOFError, zlib.error) as error:
        return None, f"it cannot be unpacked: {error}"
    except _UnsoundError as error:
        return None, str(error)


def read_volume(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The scaled voxels of a gzipped NIfTI-1 file, float32 (X, Y, Z), and its affine, (4, 4) in mm.

    No more is unpacked than `check_volume` would.

    Raises:
        ReleaseError: what is wrong with the file (exit code 1).
    """
    try:
        with _voxels(data) as (header, values):
            geometry, wrong = _judged_header(header, values)
            if wrong is not None:
                raise _UnsoundError(wrong)
            assert geometry is not None
            volume = values.astype(np.float32, order="C")  # as what stacks volumes wants them
            if (geometry.slope, geometry.intercept) != (1.0, 0.0):
                volume *= np.float32(geometry.slope)
                volume += np.float32(geometry.intercept)
            return volume, np.asarray(header.get_best_affine())
    except (OSError, EOFError, zlib.error) as error:
        raise ReleaseError(f"it cannot be unpacked: {error}", exit_code=1) from error
    except _UnsoundError as error:
        raise ReleaseError(str(error), exit_code=1) from None


def read_labels(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a gzipped NIfTI-1 label map, uint8 (X, Y, Z), and its affine, (4, 4) in mm.

    No more is unpacked than `check_volume` would.

    Raises:
        ReleaseError: what is wrong with the file, such as voxels that are scaled, or not uint8
            (exit code 1).
    """
    try:
        with _voxels(data) as (header, values):
            geometry, wrong = _judged_header(header, values)
            if wrong is not None:
                raise _UnsoundError(wrong)
            assert geometry is not None
            if values.dtype != np.uint8 or (geometry.slope, geometry.intercept) != (1.0, 0.0):
                raise _UnsoundError(f"its voxels are {values.dtype}, expected plain uint8")
            return values.copy(order="C"), np.asarray(header.get_best_affine())
    except (OSError, EOFError, zlib.error) as error:
        raise ReleaseError(f"it cannot be unpacked: {error}", exit_code=1) from error
    except _UnsoundError as error:
        raise ReleaseError(str(error), exit_code=1) from None


@contextmanager
def _voxels(data: bytes) -> Iterator[tuple[Any, np.ndarray]]:
    """The header and the voxels as they are stored; large ones one image at a time."""
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        header = _header(stream.read(HEADER_BYTES))
        shape, dtype, offset = _layout(header)
        size = math.prod(shape) * dtype.itemsize
        with _one_large if size > LARGE_BYTES else nullcontext():
            stream.seek(offset)
            plain = stream.read(size + 1)  # the byte beyond is not there, or one too many
            if len(plain) < size:
                found = f"{len(plain):,} of {size:,} bytes of voxels are there"
                raise _UnsoundError(f"it is no readable NIfTI file: {found}")
            if len(plain) > size:
                raise _UnsoundError("it goes on behind its voxels")
            yield header, np.frombuffer(plain, dtype).reshape(shape, order="F")


def _header(block: bytes) -> Any:
    try:
        return nib.Nifti1Header(block, check=True)
    except BROKEN as error:
        raise _UnsoundError(f"it is no readable NIfTI file: {error}") from None


def _layout(header: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and place of the voxels, all within bounds."""
    try:
        shape = tuple(int(side) for side in header.get_data_shape())
        dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    except BROKEN as error:
        raise _UnsoundError(f"it is no readable NIfTI file: {error}") from None
    if not shape or min(shape) < 1:
        raise _UnsoundError(f"its shape is {shape}, expected sides of at least 1")
    if dtype.kind not in "iuf":
        raise _UnsoundError(f"its voxels are {dtype}, expected numbers")
    if not HEADER_BYTES <= offset <= MOST_OFFSET:
        raise _UnsoundError(
            f"its voxels begin at byte {offset:,}, expected {HEADER_BYTES} to {MOST_OFFSET:,}"
        )
    if math.prod(shape) * dtype.itemsize > MOST_VOXEL_BYTES:
        sides = " x ".join(map(str, shape))
        raise _UnsoundError(
            f"its header asks for {sides} voxels, expected at most {MOST_VOXEL_BYTES:,} bytes"
        )
    return shape, dtype, offset


def _judged(header: Any, values: np.ndarray) -> tuple[Geometry | None, str | None]:
    geometry, wrong = _judged_header(header, values)
    if wrong is not None:
        return geometry, wrong
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return geometry, "it has values that are not finite"
    if values.min() == values.max():
        return geometry, f"it is empty: every voxel is {values.flat[0]}"
    return geometry, None


def _judged_header(header: Any, values: np.ndarray) -> tuple[Geometry | None, str | None]:
    try:
        affine = header.get_best_affine()
        slope, intercept = header.get_slope_inter()
    except BROKEN as error:
        return None, f"it is no readable NIfTI file: {error}"
    geometry = Geometry(
        shape=values.shape,
        affine=tuple(float(number) for number in affine[:3].ravel()),
        dtype=str(values.dtype),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
    )
    if len(geometry.shape) != 3:
        return geometry, f"its shape is {geometry.shape}, expected three dimensions"
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) >= 1e-9:
        return geometry, "its affine is not finite or cannot be inverted"
    if not np.isfinite([geometry.slope, geometry.intercept]).all() or geometry.slope == 0:
        return geometry, f"its scaling is {geometry.slope} and {geometry.intercept}"
    return geometry, None
