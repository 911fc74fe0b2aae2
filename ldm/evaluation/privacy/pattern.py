"""The pattern of a brain's folds, which tells one person from another, as a small volume."""

from __future__ import annotations

import numpy as np

from ldm.errors import LdmError
from ldm.volumes.resampling import blurred

SPACING = 2.5  # mm between the voxels of a pattern; a coarser volume keeps its own
# Standard deviations in voxels of the two Gaussians whose difference lets folds through.
FINE, COARSE = 0.9, 2.5
EVEN = 4.0  # voxels, of the Gaussian over which the pattern's strength is evened out
DIM = 0.2  # of the 99th percentile of intensities: what is darker is not brain
_STEPS, _LARGEST = 31.0, 127  # of the integers that it is kept in
_FAINT = 0.1  # of the greatest local strength: what is fainter is not amplified further


def pattern(volume: np.ndarray, spacing: float) -> np.ndarray:
    """What a volume (X, Y, Z), background dark, shows of folds: (x, y, z) int8, 0 outside.

    Intensities between two blurs, which are taken inside the brain alone so that its outline adds
    nothing, over their own strength nearby: neither brightness, contrast nor a coil's shading
    tells. About 0.07 to 0.2 cycles a voxel of 2.5 mm: sulci and gyri, coarser than what a decoder
    blurs and finer than what all heads share.

    Args:
        spacing: mm between voxels; finer ones are brought to `SPACING`.

    Raises:
        LdmError: not a volume, not finite, or nothing in it.
    """
    if volume.ndim != 3 or not np.isfinite(volume).all():
        raise LdmError(f"a volume of shape {volume.shape}: expected three sides, finite numbers")
    seen = coarser(np.ascontiguousarray(volume, dtype=np.float32), spacing)
    level = float(np.percentile(seen, 99))
    if level <= 0:
        raise LdmError("an empty volume: no voxel is brighter than the rest")
    inside = (blurred((seen > DIM * level).astype(np.float32), 1.0) > 0.5).astype(np.float32)

    def smooth(values: np.ndarray, sigma: float) -> np.ndarray:
        share = np.maximum(blurred(inside, sigma, mode="constant"), 1e-3)
        return np.asarray(blurred(values * inside, sigma, mode="constant") / share)

    folds = (smooth(seen, FINE) - smooth(seen, COARSE)) * inside
    strength = np.sqrt(np.maximum(smooth(folds**2, EVEN), 0)) * inside
    greatest = float(strength.max())
    if greatest <= 0:
        return np.zeros(seen.shape, dtype=np.int8)
    even = folds / np.maximum(strength, _FAINT * greatest)
    return np.clip(np.rint(_STEPS * even), -_LARGEST, _LARGEST).astype(np.int8)


def pattern_shape(shape: tuple[int, ...], spacing: float) -> tuple[int, ...]:
    """The sides of the pattern of a volume of `shape`, `spacing` mm between its voxels."""
    if spacing > 0.9 * SPACING:
        return tuple(shape)
    return tuple(max(1, round(side * spacing / SPACING)) for side in shape)


def coarser(volume: np.ndarray, spacing: float) -> np.ndarray:
    """A volume (X, Y, Z) of `spacing` mm at `SPACING` mm, or as it is where that is finer."""
    if spacing > 0.9 * SPACING:
        return volume
    from scipy.ndimage import zoom

    sigma, sides = 0.5 * SPACING / spacing, pattern_shape(volume.shape, spacing)
    factors = [new / old for new, old in zip(sides, volume.shape, strict=True)]
    smooth = blurred(volume, sigma, mode="constant")
    return np.asarray(zoom(smooth, factors, order=1, grid_mode=True, mode="grid-constant"))
