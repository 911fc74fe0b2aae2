"""The copies of a training volume that are encoded: itself, its mirror image, and moved heads."""

from __future__ import annotations

import numpy as np

from ldm import noise

LARGEST_ANGLE = 5.0  # degrees about each axis
LARGEST_SHIFT = 1.5  # voxels along each axis


def moved(volume: np.ndarray, seed: int, copy: int) -> np.ndarray:
    """Copy number `copy` of a volume (X, Y, Z) in [0, 1].

    0 is the volume itself, 1 its left-right mirror image; later ones are rotated and shifted a
    little at random, every other one mirrored. Rigid motion keeps every volume in mm3, so the
    covariates stay true.
    """
    if copy % 2:
        volume = volume[::-1]
    if copy < 2:
        return np.ascontiguousarray(volume, dtype=np.float32)
    from scipy.ndimage import affine_transform

    rng = noise.generator(noise.AUGMENT, seed, copy)
    matrix = _rotation(np.deg2rad(rng.uniform(-LARGEST_ANGLE, LARGEST_ANGLE, size=3)))
    centre = (np.array(volume.shape) - 1) / 2
    shift = rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, size=3)
    turned = affine_transform(volume, matrix, centre - matrix @ (centre + shift), order=3)
    return np.clip(turned, 0, 1).astype(np.float32)


def _rotation(angles: np.ndarray) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [a for a in range(3) if a != axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ step
    return matrix
