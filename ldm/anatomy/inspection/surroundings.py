"""The places in MNI space where an inspected scan is looked at: brain, scalp, face."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ldm.anatomy.pyramid import SPACING, template
from ldm.volumes.grid import Grid

_MARGIN = 15  # voxels of 2 mm that are looked at beyond the template's own lattice
_EDGE = 4.0  # mm inside the brain's outline that are not counted: fits are no better
_SCALP = (6.0, 18.0)  # mm outside the brain's outline, where a head has its scalp
_CRANIUM = 24.0  # mm outside the brain, beyond which there is air, hair or a hand
_AIR = 40.0  # mm outside the brain, as far as that is looked at
_ABOVE = 10.0  # MNI mm: above eyes, ears and what defacing takes away
# A grid for heads leaves no more than this share of the template's scalp outside.
_MOST_SCALP_OUTSIDE = 0.05
_SCALP_OF_TEMPLATE = (6.0, 14.0)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Points in MNI mm, (3, N) each.

    Attributes:
        brain: inside the template's brain, its outermost 4 mm left out.
        scalp: 6 to 18 mm outside the brain, above eyes and ears.
        column: (N,) of each point of the scalp, which piece of the brain's surface is below it.
        columns: how many such pieces there are.
        cranium: up to 24 mm outside the brain or in it, above eyes and ears.
        air: 24 to 40 mm outside the brain, above eyes and ears.
        face: where nose, mouth and cheeks are.
    """

    brain: np.ndarray
    scalp: np.ndarray
    column: np.ndarray
    columns: int
    cranium: np.ndarray
    air: np.ndarray
    face: np.ndarray


@lru_cache(maxsize=1)
def surroundings() -> Surroundings:
    """Those of the template."""
    from scipy import ndimage

    brain = np.pad(template().brain, _MARGIN)
    origin = template().origin - _MARGIN * SPACING
    outside, below = ndimage.distance_transform_edt(~brain, sampling=SPACING, return_indices=True)
    inside = ndimage.distance_transform_edt(brain, sampling=SPACING)
    x, y, z = (o + SPACING * i for o, i in zip(origin, np.indices(brain.shape), strict=True))

    def points(where: np.ndarray) -> np.ndarray:
        return np.stack([x[where], y[where], z[where]])

    scalp = (outside > _SCALP[0]) & (outside <= _SCALP[1]) & (z > _ABOVE)
    pieces = np.ravel_multi_index([axis[scalp] for axis in below], brain.shape)
    known, column = np.unique(pieces, return_inverse=True)
    face = (outside > _SCALP[0]) & (np.abs(x) < 40) & (y > 50) & (z > -70) & (z < -15)
    return Surroundings(
        brain=points(inside > _EDGE),
        scalp=points(scalp),
        column=column,
        columns=len(known),
        cranium=points((outside <= _CRANIUM) & (z > _ABOVE)),
        air=points((outside > _CRANIUM) & (outside <= _AIR) & (z > _ABOVE)),
        face=points(face),
    )


@lru_cache(maxsize=8)
def holds_head(grid: Grid) -> bool:
    """Whether a grid in MNI space has room for a head's scalp, rather than for a brain alone."""
    from scipy import ndimage

    brain = np.pad(template().brain, _MARGIN)
    outside = ndimage.distance_transform_edt(~brain, sampling=SPACING)
    near, far = _SCALP_OF_TEMPLATE
    voxels = np.nonzero((outside > near) & (outside <= far))
    points = (template().origin - _MARGIN * SPACING)[:, None] + SPACING * np.stack(voxels)
    above = points[:, points[2] > 0]
    return outside_share(above, grid.affine, grid.shape) <= _MOST_SCALP_OUTSIDE


def outside_share(points: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> float:
    """Share of points (3, N), mm, that lie in no voxel of a lattice with this affine and shape."""
    return float(1 - within(to_voxels(points, affine), shape).mean()) if points.size else 0.0


def to_voxels(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Points (3, N), mm, as indices of voxels, not rounded."""
    inverse = np.linalg.inv(affine)
    return np.asarray(inverse[:3, :3] @ points + inverse[:3, 3:])


def within(voxels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Whether each index (3, N) lies in a voxel of an array of this shape, (N,) bool."""
    ends = np.array(shape)[:, None] - 0.5
    return np.asarray(((voxels >= -0.5) & (voxels <= ends)).all(axis=0))
