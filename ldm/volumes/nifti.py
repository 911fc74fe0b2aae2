"""NIfTI files of strangers: a header is judged before anything that it asks for is read.

Voxels are read straight behind the offset that the header names; header extensions are passed
over. So a small `.gz` that unpacks to gigabytes, or a header that asks for them, costs no memory.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ldm.errors import LdmError
from ldm.volumes.absent import of_pointer, why_absent
from ldm.volumes.grid import MOST_VOXELS
from ldm.volumes.orientation import Frame, frame

MOST_BYTES = 2**29
MOST_OFFSET = 2**24  # where the voxels begin; before them is room for header extensions
MOST_SCALE = 1e30  # of the slope and the intercept of its intensities
HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348

GZIP = b"\x1f\x8b"

T = TypeVar("T")

_NOWHERE = logging.Logger("ldm.volumes.nifti")
_NOWHERE.addHandler(logging.NullHandler())

# What gzip, zlib and nibabel raise on a broken file.
BROKEN = (OSError, EOFError, zlib.error, HeaderDataError, WrapStructError, KeyError, ValueError,
          OverflowError, np.linalg.LinAlgError)  # fmt: skip


def open_nifti(path: Path) -> Any:
    """The image in a `.nii` or `.nii.gz` file: voxels in memory as stored, to be scaled by nibabel.

    Raises:
        LdmError: no such file, none of these formats, not 3-D, damaged, a header that asks for
            more than a scan of a head has, or a file that only stands for one (git-annex, LFS).
    """
    return open_framed(path)[0]


def open_framed(path: Path) -> tuple[Any, Frame]:
    """The same, with the place of its voxels and what is doubtful about it."""
    return _reading(path, _read)


def examine(path: Path) -> Frame:
    """The place of an image's voxels, of which none is read. Raises LdmError as `open_nifti`."""
    return _reading(path, lambda stream: _judged(stream)[0])


def from_bytes(data: bytes) -> Any:
    """The image in the bytes of a `.nii.gz` file. Raises LdmError as `open_nifti` does."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            return _read(stream)[0]
    except BROKEN as error:
        if isinstance(error, LdmError):
            raise
        raise LdmError(f"unreadable image ({type(error).__name__}: {error})") from error


def _reading(path: Path, read: Callable[[Any], T]) -> T:
    try:
        with _opened(path) as stream:
            return read(stream)
    except LdmError:
        raise
    except FileNotFoundError as error:
        told = why_absent(path)
        raise LdmError(f"unreadable image ({told})" if told else "no such file") from error
    except BROKEN as error:
        told = why_absent(path) or f"{type(error).__name__}: {error}"
        raise LdmError(f"unreadable image ({told})") from error


def _opened(path: Path) -> IO[bytes]:
    """A stream of the file's content, unpacked where it is packed, whatever its name says."""
    if not path.is_file():  # a pipe would be waited for
        path.stat()
        raise LdmError("unreadable image (not a file)")
    with path.open("rb") as stream:
        beginning = stream.read(512)
    if told := of_pointer(path, beginning):
        raise LdmError(f"unreadable image ({told})")
    opened: Any = gzip.open if beginning.startswith(GZIP) else open
    stream = opened(path, "rb")
    return stream


def _read(stream: Any) -> tuple[Any, Frame]:
    place, header, dtype, offset = _judged(stream)
    shape = place.shape
    stream.seek(offset)
    size = math.prod(shape) * dtype.itemsize
    voxels = stream.read(size)
    if len(voxels) < size:
        raise LdmError(f"unreadable image (cut short: {len(voxels):,} of {size:,} bytes of voxels)")
    slope, intercept = header.get_slope_inter()
    slope, intercept = (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)
    if not max(abs(slope), abs(intercept)) < MOST_SCALE:
        raise LdmError(f"unreadable image (its scaling is {slope} and {intercept})")
    proxy = ArrayProxy(io.BytesIO(voxels), (shape, dtype, 0, slope, intercept))
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    header.set_data_shape(shape)
    return kind(proxy, place.affine, header), place


def _judged(stream: Any) -> tuple[Frame, Any, np.dtype[Any], int]:
    """The header, judged: the place of the voxels, their type and where they begin."""
    header = _header(stream.read(HEADER_BYTES))
    shape, dtype, offset = _layout(header)
    return frame(header, shape), header, dtype, offset


def _header(block: bytes) -> Any:
    sizes = {int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")}
    if 348 in sizes and block[344:348] == bytes(4):
        raise LdmError(
            "unreadable image (Analyze 7.5, which does not tell left from right, expected NIfTI)"
        )
    if 348 in sizes:
        return _checked(nib.Nifti1Header(block[:348], check=False))
    if 540 in sizes:
        return _checked(nib.Nifti2Header(block[:540], check=False))
    raise LdmError("unreadable image (no NIfTI file: its header has neither 348 nor 540 bytes)")


def _checked(header: Any) -> Any:
    """The header with what nibabel mends in it, of which nothing goes to the terminal."""
    header.check_fix(logger=_NOWHERE)
    return header


def _layout(header: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and place of the voxels, all within bounds."""
    shape = tuple(int(side) for side in header.get_data_shape())
    sides = " x ".join(map(str, shape))
    if len(shape) > 3 and set(shape[3:]) == {1}:  # one volume of a series
        shape = shape[:3]
    if len(shape) != 3:
        raise LdmError(f"a {len(shape)}-D image ({sides}), expected 3-D")
    dtype = header.get_data_dtype()
    if min(shape) < 1:
        raise LdmError(f"empty volume: {sides} voxels")
    if dtype.kind not in "iuf":
        kind = "-".join(dtype.names) if dtype.names else str(dtype)
        raise LdmError(f"unreadable image ({sides} voxels of type {kind}, expected real numbers)")
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
