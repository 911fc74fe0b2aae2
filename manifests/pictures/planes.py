"""A volume in three planes through the middle of the head, as grey pictures the right way up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from manifests.pictures.png import png_bytes

GAP = 6  # pixels between two planes
BRIGHTEST = 99.8  # percentile of the voxels that is drawn white
FOREGROUND = 0.1  # of the brightest
ABOVE_CENTRE = 0.05  # of the head's height: where the lateral ventricles are

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")


def three_planes(volume: np.ndarray, affine: np.ndarray, height: int) -> bytes:
    """The three planes of a volume (X, Y, Z) side by side, a PNG file so many pixels high."""
    views = views_of(volume, affine)
    scale = height / max(view.shape[0] for view in views.values())
    return png_bytes(beside([scaled(views[plane], scale) for plane in PLANES]))


def views_of(volume: np.ndarray, affine: np.ndarray) -> dict[Plane, np.ndarray]:
    """The three planes through the middle of the head, neurological: left is left; uint8."""
    orientation = nib.orientations.io_orientation(affine)
    upright = nib.orientations.apply_orientation(volume, orientation)  # to right, front, top
    sizes = voxel_sizes(affine)[np.argsort(orientation[:, 0])]
    white = float(np.percentile(upright, BRIGHTEST)) or float(upright.max()) or 1.0
    centre = _centre(upright > FOREGROUND * white)
    views: dict[Plane, np.ndarray] = {}
    for axis, plane in enumerate(PLANES):
        cut = np.clip(np.take(upright, centre[axis], axis=axis).T[::-1] / white, 0, 1)
        across, down = np.delete(sizes, axis)
        least = min(across, down)
        height, width = cut.shape
        square = (max(1, round(height * down / least)), max(1, round(width * across / least)))
        views[plane] = _resampled((cut * 255).round().astype(np.uint8), square)
    return views


def _centre(foreground: np.ndarray) -> list[int]:
    """Mean voxel of the foreground, raised to the ventricles; the middle of an empty volume."""
    if not foreground.any():
        return [side // 2 for side in foreground.shape]
    sums = [foreground.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    centre = [float(np.average(np.arange(len(line)), weights=line)) for line in sums]
    centre[2] += ABOVE_CENTRE * np.count_nonzero(sums[2])
    return [min(round(c), side - 1) for c, side in zip(centre, foreground.shape, strict=True)]


def beside(tiles: Sequence[np.ndarray], *, gap: int = GAP) -> np.ndarray:
    """Tiles in a line, lower ones in the middle of its height."""
    height = max(tile.shape[0] for tile in tiles)
    line = []
    for tile in tiles:
        above = (height - tile.shape[0]) // 2
        line += [np.pad(tile, ((above, height - tile.shape[0] - above), (0, gap)))]
    return np.concatenate(line, axis=1)[:, :-gap]


def scaled(view: np.ndarray, scale: float) -> np.ndarray:
    """`view` so many times as large."""
    height, width = (max(1, round(side * scale)) for side in view.shape)
    return _resampled(view, (height, width))


def _resampled(view: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`view` on another grid over the same rectangle, by linear interpolation."""
    if view.shape == shape:
        return view
    values = view.astype(np.float32)
    for axis, side in enumerate(shape):
        old = values.shape[axis]
        place = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
        low = np.minimum(place.astype(int), max(old - 2, 0))
        part = (place - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        high = np.minimum(low + 1, old - 1)
        values = (1 - part) * values.take(low, axis) + part * values.take(high, axis)
    return values.round().astype(np.uint8)
