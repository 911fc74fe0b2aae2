"""NIfTI files of strangers: a header is judged before anything that it asks for is read.

Voxels are read straight behind the offset that the header names; header extensions are passed
over. So a small `.gz` that unpacks to gigabytes, or a header that asks for them, costs no memory.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ldm.errors import LdmError
from ldm.volumes.grid import MOST_VOXELS

MOST_BYTES = 2**29
MOST_OFFSET = 2**24  # where the voxels begin; before them is room for header extensions
SIDES_MM = (0.1, 50.0)  # of a voxel
MOST_MM = 600.0  # of the whole image along an axis
MOST_SCALE = 1e30  # of the slope and the intercept of its intensities
HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348

# What gzip, zlib and nibabel raise on a broken file.
BROKEN = (OSError, EOFError, zlib.error, HeaderDataError, WrapStructError, KeyError, ValueError,
          OverflowError, np.linalg.LinAlgError)  # fmt: skip


def open_nifti(path: Path) -> Any:
    """The image in a `.nii` or `.nii.gz` file: voxels in memory as stored, to be scaled by nibabel.

    Raises:
        LdmError: no such file, none of these formats, not 3-D, damaged, or a header that asks for
            more than a scan of a head has.
    """
    try:
        with _opened(path) as stream:
            return _read(stream)
    except LdmError:
        raise
    except FileNotFoundError as error:
        raise LdmError("no such file") from error
    except BROKEN as error:
        raise LdmError(f"unreadable image ({type(error).__name__}: {error})") from error


def from_bytes(data: bytes) -> Any:
    """The image in the bytes of a `.nii.gz` file. Raises LdmError as `open_nifti` does."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            return _read(stream)
    except BROKEN as error:
        if isinstance(error, LdmError):
            raise
        raise LdmError(f"unreadable image ({type(error).__name__}: {error})") from error


def _opened(path: Path) -> IO[bytes]:
    if not path.is_file():  # a pipe would be waited for
        path.stat()
        raise LdmError("unreadable image (not a file)")
    opened: Any = gzip.open if path.name.endswith(".gz") else open
    stream: IO[bytes] = opened(path, "rb")
    return stream


def _read(stream: Any) -> Any:
    header = _header(stream.read(HEADER_BYTES))
    shape, dtype, offset = _layout(header)
    stream.seek(offset)
    size = math.prod(shape) * dtype.itemsize
    voxels = stream.read(size)
    if len(voxels) < size:
        raise LdmError(f"unreadable image (cut short: {len(voxels):,} of {size:,} bytes of voxels)")
    affine = _affine(header, shape)
    slope, intercept = header.get_slope_inter()
    slope, intercept = (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)
    if not max(abs(slope), abs(intercept)) < MOST_SCALE:
        raise LdmError(f"unreadable image (its scaling is {slope} and {intercept})")
    proxy = ArrayProxy(io.BytesIO(voxels), (shape, dtype, 0, slope, intercept))
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    return kind(proxy, affine, header)


def _header(block: bytes) -> Any:
    sizes = {int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")}
    if 348 in sizes:
        return nib.Nifti1Header(block[:348], check=True)
    if 540 in sizes:
        return nib.Nifti2Header(block[:540], check=True)
    raise LdmError("unreadable image (no NIfTI file: its header has neither 348 nor 540 bytes)")


def _layout(header: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and place of the voxels, all within bounds."""
    shape = tuple(int(side) for side in header.get_data_shape())
    sides = " x ".join(map(str, shape))
    if len(shape) != 3:
        raise LdmError(f"a {len(shape)}-D image ({sides}), expected 3-D")
    dtype = header.get_data_dtype()
    if min(shape) < 1:
        raise LdmError(f"empty volume: {sides} voxels")
    if dtype.kind not in "iuf":
        raise LdmError(f"unreadable image ({sides} voxels of type {dtype}, expected numbers)")
    voxels = math.prod(shape)
    if voxels > MOST_VOXELS or voxels * dtype.itemsize > MOST_BYTES:
        raise LdmError(
            f"{sides} voxels of {dtype}: expected at most {MOST_VOXELS:,} voxels and "
            f"{MOST_BYTES:,} bytes; resample it first, if it is a scan"
        )
    offset = int(header.get_data_offset()) or header.single_vox_offset
    if not len(header.structarr.tobytes()) <= offset <= MOST_OFFSET:
        raise LdmError(f"unreadable image (its voxels begin at byte {offset:,})")
    return shape, dtype, offset


def _affine(header: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Voxel to world, mm; what no scan of a head has would make resampling it take for ever."""
    affine = header.get_best_affine()
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e6:
        raise LdmError("unreadable image (its affine is not finite)")
    sides = voxel_sizes(affine)
    if not ((sides >= SIDES_MM[0]) & (sides <= SIDES_MM[1])).all():
        told = " x ".join(f"{side:.4g}" for side in sides)
        expected = f"expected {SIDES_MM[0]:g} to {SIDES_MM[1]:g} mm"
        raise LdmError(f"unreadable image (voxels of {told} mm, {expected})")
    if abs(np.linalg.det(affine[:3, :3] / sides)) < 1e-3:
        raise LdmError("unreadable image (its affine cannot be inverted)")
    extent = sides * shape
    if extent.max() > MOST_MM:
        told = " x ".join(f"{side:.4g}" for side in extent)
        raise LdmError(f"unreadable image ({told} mm, expected at most {MOST_MM:g} mm a side)")
    return np.asarray(affine, dtype=np.float64)
