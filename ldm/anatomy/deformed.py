"""Copies of a brain bent into other anatomies: larger ventricles, wider sulci, true volumes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ldm import noise
from ldm.anatomy import labels
from ldm.anatomy.copies import SPLINE, Pose, pose
from ldm.anatomy.virtual.scanner import smooth_field
from ldm.volumes.resampling import centred_axes

# The covariates that bending changes.
CHANGED = ("ventricular_volume", "brain_volume")

# Standard deviations of the logarithms of the factors by which ventricles and fluid change.
VENTRICLE_SPREAD, FLUID_SPREAD = 0.35, 0.15
BEND = 1.5  # mm, standard deviation of each component of the random bending
CELL = 40.0  # mm between the knots of the random bending
_REACH = 4.0  # mm, standard deviation of the blur that spreads a push beyond a structure's wall
_LARGEST_PUSH = 5.0  # mm


class Bent(NamedTuple):
    """A bent copy.

    Attributes:
        volume: (X, Y, Z) float32 in [0, 1].
        factors: by which its covariates differ from the volume's own, by covariate.
    """

    volume: np.ndarray
    factors: dict[str, float]


def deformed(volume: np.ndarray, shares: np.ndarray, spacing: float, seed: int, copy: int) -> Bent:
    """Copy number `copy` of a volume, bent smoothly and then moved as `copies.moved` moves it.

    Ventricles and fluid are pushed apart or together along the gradient of their blurred
    shares, and the whole is bent a little at random. What the new volumes are follows from the
    same bending of the shares: tissue elsewhere neither appears nor is lost.

    Args:
        volume: (X, Y, Z) in [0, 1], a brain cut out of its head.
        shares: (6, X, Y, Z), the share of each structure (`labels.NAMES`) in every voxel.
        spacing: mm between voxels.
        seed: of the subject; another bends differently.
        copy: odd ones are mirrored.
    """
    if copy % 2:
        volume, shares = volume[::-1], shares[:, ::-1]
    tissue = shares[labels.GREY] + shares[labels.WHITE] + shares[labels.STEM]
    parts = np.stack([shares[labels.VENTRICLE], shares[labels.CSF], tissue])
    rng = noise.generator(noise.AUGMENT, seed, copy, 1)
    field = _bend(volume.shape, spacing, rng)
    for part, spread in zip(parts, (VENTRICLE_SPREAD, FLUID_SPREAD), strict=False):
        field += _push(part, spread * float(np.clip(rng.standard_normal(), -2, 2)), spacing)
    return Bent(
        _resampled(volume, field, pose(volume.shape, seed, copy)),
        _factors(_sums(parts), _sums(_pulled(parts, field))),
    )


def _push(share: np.ndarray, change: float, spacing: float) -> np.ndarray:
    """Displacement (3, X, Y, Z), voxels, that changes a structure's log volume by about `change`.

    Down the gradient of the blurred share, scaled so that the first-order change is right.
    """
    from scipy.ndimage import gaussian_filter

    outward = -np.stack(np.gradient(gaussian_filter(share, _REACH / spacing)))
    slope = -np.stack(np.gradient(share))
    per_unit = float((outward * slope).sum()) / max(float(share.sum()), 1.0)
    if per_unit <= 0:
        return np.zeros_like(outward)
    field = outward * (change / per_unit)
    longest = float(np.sqrt((field**2).sum(axis=0)).max()) * spacing
    return np.asarray(field * min(1.0, _LARGEST_PUSH / max(longest, 1e-6)), dtype=np.float32)


def _bend(shape: tuple[int, ...], spacing: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random displacement (3, X, Y, Z), voxels."""
    axes = centred_axes(shape, spacing)
    smooth = [smooth_field(rng, axes, CELL, BEND / spacing) for _ in shape]
    return np.asarray(smooth, dtype=np.float32)


def _pulled(images: np.ndarray, field: np.ndarray) -> np.ndarray:
    """(N, X, Y, Z) images displaced by `field`, linearly."""
    from scipy.ndimage import map_coordinates

    where = np.indices(images.shape[1:], dtype=np.float32) - field
    return np.stack([map_coordinates(image, where, order=1, mode="nearest") for image in images])


def _resampled(volume: np.ndarray, field: np.ndarray, place: Pose) -> np.ndarray:
    """The bent volume in another pose, interpolated once."""
    from scipy.ndimage import map_coordinates

    points = np.indices(volume.shape, dtype=np.float32).reshape(3, -1)
    turned = place.matrix @ points + place.offset[:, None]
    push = np.stack([map_coordinates(axis, turned, order=1, mode="nearest") for axis in field])
    values = map_coordinates(volume, turned - push, order=SPLINE, mode="constant")
    return np.clip(values.reshape(volume.shape), 0, 1).astype(np.float32)


def _sums(parts: np.ndarray) -> np.ndarray:
    return np.asarray(parts.reshape(len(parts), -1).sum(axis=1, dtype=np.float64))


def _factors(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """From the sums (3,) of ventricles, fluid and tissue; brain volumes are normalised by the
    size of the head, so theirs is that of the tissue's share."""
    share = after[2] / after.sum() / (before[2] / before.sum())
    ventricles = after[0] / before[0] if before[0] else 1.0
    return dict(zip(CHANGED, (float(ventricles), float(share)), strict=True))
