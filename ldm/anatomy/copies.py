"""The copies of a training volume that are encoded: itself, its mirror image, and moved heads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ldm import noise
from ldm.volumes.resampling import axis_rotations

WHOLE = 2  # copies that are the volume itself and its mirror image
LARGEST_ANGLE = 5.0  # degrees about each axis
LARGEST_SHIFT = 1.5  # voxels along each axis
# Degree of the splines that copies are interpolated with. Of the power from 0.36 to 0.42 cycles a
# voxel they leave 0.95, cubic ones 0.86.
SPLINE = 5


class Pose(NamedTuple):
    """Where a copy's voxel lies in the volume: `matrix` (3, 3) times its index plus `offset`."""

    matrix: np.ndarray
    offset: np.ndarray


def moved(volume: np.ndarray, seed: int, copy: int) -> np.ndarray:
    """Copy number `copy` of a volume (X, Y, Z) in [0, 1].

    0 is the volume itself, 1 its left-right mirror image; later ones are rotated and shifted a
    little at random, every other one mirrored. Rigid motion keeps every volume in mm3, so the
    covariates stay true.
    """
    if copy % 2:
        volume = volume[::-1]
    if copy < WHOLE:
        return np.ascontiguousarray(volume, dtype=np.float32)
    from scipy.ndimage import affine_transform

    turned = affine_transform(volume, *pose(volume.shape, seed, copy), order=SPLINE)
    return np.clip(turned, 0, 1).astype(np.float32)


def pose(shape: tuple[int, ...], seed: int, copy: int) -> Pose:
    """A small random rotation about the middle of a volume of `shape`, and shift."""
    rng = noise.generator(noise.AUGMENT, seed, copy)
    angles = np.deg2rad(rng.uniform(-LARGEST_ANGLE, LARGEST_ANGLE, size=3))
    about_x, about_y, about_z = axis_rotations(angles * (1, -1, 1))
    matrix = about_x @ about_y @ about_z
    centre = (np.array(shape) - 1) / 2
    shift = rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, size=3)
    return Pose(matrix, centre - matrix @ (centre + shift))
