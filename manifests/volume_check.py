"""Whether the bytes of one image are a sound NIfTI volume, and on which grid."""

from __future__ import annotations

import gzip
import zlib
from typing import NamedTuple, cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy


class Geometry(NamedTuple):
    """What all images of a release have in common."""

    shape: tuple[int, ...]
    affine: tuple[float, ...]  # voxel to mm, the upper three rows, row by row
    dtype: str
    slope: float
    intercept: float


def check_volume(data: bytes) -> tuple[Geometry | None, str | None]:
    """The geometry of a gzipped NIfTI-1 file, if it can be told, and what is wrong with it.

    Sound is: whole (gzip's own checksum), 3-D, a finite affine that can be inverted, finite values
    that are not all the same.
    """
    try:
        plain = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        return None, f"it cannot be unpacked: {error}"
    try:
        image = nib.Nifti1Image.from_bytes(plain)
        stored = cast(ArrayProxy, image.dataobj)
        values = np.asanyarray(stored.get_unscaled())
    except Exception as error:  # nibabel raises many kinds for a broken header
        return None, f"it is no readable NIfTI file: {error}"
    affine = image.affine
    geometry = Geometry(
        shape=tuple(int(side) for side in image.shape),
        affine=tuple(float(number) for number in affine[:3].ravel()),
        dtype=str(values.dtype),
        slope=float(stored.slope),
        intercept=float(stored.inter),
    )
    if len(geometry.shape) != 3:
        return geometry, f"its shape is {geometry.shape}, expected three dimensions"
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        return geometry, "its affine is not finite or cannot be inverted"
    if not np.isfinite([geometry.slope, geometry.intercept]).all() or geometry.slope == 0:
        return geometry, f"its scaling is {geometry.slope} and {geometry.intercept}"
    if not np.isfinite(values).all():
        return geometry, "it has values that are not finite"
    if values.min() == values.max():
        return geometry, f"it is empty: every voxel is {values.flat[0]}"
    return geometry, None
