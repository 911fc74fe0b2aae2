"""Moving and resampling a volume: its axes, rotations, mirror images, and how it is smoothed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nibabel.affines import voxel_sizes

_FWHM = 2.355  # standard deviations in a Gaussian's full width at half maximum, 2 sqrt(2 log 2)


def centred_axes(shape: Sequence[int], spacing: float) -> list[np.ndarray]:
    """Positions of the voxels along each axis, mm from the middle of the volume."""
    return [spacing * (np.arange(side) - (side - 1) / 2) for side in shape]


def axis_rotations(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rotations about x, y and z by `angles` (3,) radians, each (3, 3), right-handed."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x, about_y, about_z


def rotation(angles: np.ndarray) -> np.ndarray:
    """The rotation about x, then y, then z by `angles` (3,) radians, (3, 3)."""
    about_x, about_y, about_z = axis_rotations(angles)
    return np.asarray(about_z @ about_y @ about_x)


def mirrored(rng: np.random.Generator, *volumes: np.ndarray) -> tuple[np.ndarray, ...]:
    """Volumes (..., X, Y, Z) that belong together, left and right exchanged half the time."""
    if rng.random() < 0.5:
        return tuple(volume[..., ::-1, :, :] for volume in volumes)
    return volumes


def blurred(volume: np.ndarray, sigma: float | np.ndarray, *, mode: str = "reflect") -> np.ndarray:
    """A volume (X, Y, Z) smoothed by a Gaussian, of its dtype.

    Args:
        sigma: standard deviation in voxels, or (3,) of them; the Gaussian ends at three.
        mode: what lies beyond the volume, as in `scipy.ndimage.gaussian_filter`.
    """
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(volume, sigma, mode=mode, truncate=3.0))


def coarsening_sigma(fine: float | np.ndarray, coarse: float | np.ndarray) -> np.ndarray:
    """Standard deviation, in fine voxels, of the Gaussian that turns voxels of `fine` mm into
    those of `coarse` mm: of the full width at half maximum of the coarse, less that of the fine;
    0 where the coarse voxel is not the larger."""
    return np.asarray(np.sqrt(np.maximum((coarse / fine) ** 2 - 1, 0)) / _FWHM)


def smoothed_for(spacing: float, data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A volume (X, Y, Z) ready to be sampled every `spacing` mm: smoothed where that is coarser.

    Args:
        affine: (4, 4) voxel to world, mm.
    """
    from scipy.ndimage import gaussian_filter

    sigma = coarsening_sigma(voxel_sizes(affine), spacing)
    # A smaller sigma leaves each voxel its own weight alone.
    return np.asarray(gaussian_filter(data, sigma)) if sigma.max() > 0.1 else data
