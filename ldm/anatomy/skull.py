"""Skull-stripping: the brain mask of a head, by deepbet."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np

from ldm.errors import LdmError
from ldm.volumes.background import background

# The box in MNI space in which a registered head is looked at: 1 mm, the whole head.
_BOX_ORIGIN, _BOX_SHAPE = (-96.0, -132.0, -88.0), (192, 232, 192)


def brain_mask(
    data: np.ndarray, affine: np.ndarray, to_mni: np.ndarray | None = None
) -> np.ndarray:
    """Voxels of the intracranial brain with its cerebrospinal fluid, (X, Y, Z) bool.

    deepbet (Fisch et al. 2024) was trained on heads that are upright. Where the head's place is
    known it is turned upright for deepbet, and the mask is turned back.

    Args:
        data: (X, Y, Z) float32.
        affine: (4, 4) voxel to world mm.
        to_mni: (4, 4) world mm to MNI mm, a registration's `rigid`.

    Raises:
        LdmError: no brain found.
        ModuleNotFoundError: deepbet is not installed.
    """
    from scipy import ndimage

    if to_mni is None:
        return _deepbet(data, affine)
    place = np.eye(4)
    place[:3, 3] = _BOX_ORIGIN
    into = np.linalg.inv(to_mni @ affine) @ place  # voxels of the box to voxels of the scan
    upright = ndimage.affine_transform(
        data,
        into[:3, :3],
        into[:3, 3],
        _BOX_SHAPE,
        order=1,
        mode="grid-constant",
        cval=background(data).value,
    )
    mask = _deepbet(upright, place).astype(np.float32)
    back = np.linalg.inv(into)
    found = ndimage.affine_transform(mask, back[:3, :3], back[:3, 3], data.shape, order=1)
    return np.asarray(found > 0.5)


def _deepbet(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    try:
        _, mask, _ = _extraction().run(nib.Nifti1Image(data, affine))
    except (AssertionError, ValueError):  # deepbet's words for: nothing that looks like a brain
        raise LdmError("skull-stripping failed: deepbet finds no brain") from None
    found = np.asarray(mask.dataobj) > 0
    if not found.any():
        raise LdmError("skull-stripping failed: deepbet finds no brain")
    return found


@lru_cache(maxsize=1)
def _extraction() -> Any:
    from deepbet import BrainExtraction

    return BrainExtraction(no_gpu=True)
