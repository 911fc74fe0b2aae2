"""A whole head around the template's brain: skull, scalp, and a face or the lack of one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from ldm.anatomy.pyramid import SPACING, template
from ldm.anatomy.registration import Registration

_MARGIN = 20  # voxels around the template's lattice
_SKULL = (2.0, 8.0)  # mm outside the brain
_SCALP = 14.0


def brain() -> tuple[np.ndarray, np.ndarray]:
    """(X, Y, Z) float32, 0 to 1000, and its affine: the template's brain at 2 mm, in place."""
    import SimpleITK as sitk

    place = np.diag([SPACING] * 3 + [1.0])
    place[:3, 3] = template().origin - _MARGIN * SPACING
    return 1000 * np.pad(sitk.GetArrayFromImage(template().t1[2]).T, _MARGIN), place


@lru_cache(maxsize=2)
def _head(face: bool) -> np.ndarray:
    data, place = brain()
    outside = ndimage.distance_transform_edt(~np.pad(template().brain, _MARGIN), sampling=SPACING)
    x, y, z = (o + SPACING * i for o, i in zip(place[:3, 3], np.indices(data.shape), strict=True))
    data[(outside > _SKULL[1]) & (outside <= _SCALP) & (z > -60)] = 800
    data[(outside > _SKULL[0]) & (outside <= _SKULL[1])] = 60
    front = ((x / 55) ** 2 + ((y - 45) / 55) ** 2 + ((z + 45) / 45) ** 2 < 1) & (outside > 4)
    data[front] = 700 if face else 0
    return ndimage.gaussian_filter(data, 0.5)


def head(*, face: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The same with its skull and scalp, and its face unless it is taken away."""
    return _head(face).copy(), brain()[1]


def in_place() -> Registration:
    """What registration finds of a scan that lies where the template lies."""
    return Registration(rigid=np.eye(4), affine=np.eye(4), correlation=1.0, contrast=1.0)


def about_the_brain(motion: np.ndarray) -> np.ndarray:
    """A rotation (3, 3) as a motion (4, 4) of the world that leaves the brain's middle in place."""
    found = np.eye(4)
    found[:3, :3] = motion
    found[:3, 3] = template().centre - motion @ template().centre
    return found
