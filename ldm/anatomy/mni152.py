"""The anatomy that virtual subjects are deformed from: the MNI152 template and its ventricles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from ldm.errors import LdmError

_CSF_BELOW = 0.5  # of the template's range: cerebrospinal fluid
_DEEP = 18.0  # mm from the edge of the brain: deeper than any cistern that touches a ventricle
_IN_VENTRICLE = (8.0, 15.0, 12.0)  # MNI mm; and its mirror image, in the other lateral ventricle
_FAR = 40.0  # mm from the ventricles: beyond it their wall's push is not felt
_COARSE = 2  # template voxels (1 mm) to a voxel of the smooth maps


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """The template on its own lattice, MNI space, RAS, 1 mm.

    Attributes:
        origin: MNI mm of the first voxel's centre, (3,).
        t1: (X, Y, Z) float32, T1w contrast of the brain in 0..1, edges sharpened.
        edge: negative inside the brain, positive outside, smooth across; each second voxel.
        ventricles: signed distance to the lateral ventricles' wall in mm; each second voxel.
        outward: (3, ...) unit gradient of `ventricles`, smoothed.
        brain_volume: mm3 inside the edge, cerebrospinal fluid included.
        ventricle_volumes: [i]: mm3 within `ventricle_offsets[i]` mm of the ventricles.
        ventricle_offsets: mm, increasing from inside to outside.
    """

    origin: np.ndarray
    t1: np.ndarray
    edge: np.ndarray
    ventricles: np.ndarray
    outward: np.ndarray
    brain_volume: float
    ventricle_volumes: np.ndarray
    ventricle_offsets: np.ndarray

    def sample(self, volume: np.ndarray, points: np.ndarray) -> np.ndarray:
        """One of the maps at (3, N) MNI points in mm, by linear interpolation, (N,) float32."""
        step = 1 if volume.shape == self.t1.shape else _COARSE
        index = (points - self.origin[:, None]) / step
        return ndimage.map_coordinates(volume, index, order=1, mode="nearest", prefilter=False)

    def offset_for(self, volume: float) -> float:
        """How far (mm) to push the ventricles' wall for them to hold `volume` mm3."""
        return float(np.interp(volume, self.ventricle_volumes, self.ventricle_offsets))


@lru_cache(maxsize=2)
def load_anatomy(spacing: float = 1.0) -> Anatomy:
    """The anatomy, its T1w map smoothed for sampling at `spacing` mm.

    Source: ICBM 152 2009a nonlinear symmetric, as nilearn ships it. The lateral ventricles are
    the deep dark component of the T1w map; their temporal horns are only begun there.

    Raises:
        LdmError: nilearn is not installed.
    """
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        raise LdmError(
            "the virtual cohort needs nilearn: pip install '.[press]' in a checkout of brainpress"
        ) from None
    template = load_mni152_template(resolution=1)
    origin = np.asarray(template.affine[:3, 3], dtype=np.float64)
    raw = np.asarray(template.dataobj, dtype=np.float32)
    raw = raw / raw.max()
    brain = ndimage.binary_fill_holes(raw > 0)
    wall = _signed_distance(_lateral_ventricles(raw, brain, origin))
    smooth = _thinned(ndimage.gaussian_filter(wall, 1.5))
    gradient = np.stack(np.gradient(smooth))
    outward = gradient / np.maximum(np.sqrt((gradient**2).sum(axis=0)), 0.5 * _COARSE)
    offsets = np.linspace(-4, 16, 201)
    counts = np.searchsorted(np.sort(wall[np.abs(wall) < 20], axis=None), offsets)
    deeper = np.count_nonzero(wall <= -20)
    return Anatomy(
        origin=origin,
        t1=_sharpened(raw, brain, spacing),
        edge=_edge(brain),
        ventricles=_thinned(wall),
        outward=outward.astype(np.float32),
        brain_volume=float(brain.sum()),
        ventricle_volumes=(counts + deeper).astype(np.float64),
        ventricle_offsets=offsets,
    )


def _lateral_ventricles(raw: np.ndarray, brain: np.ndarray, origin: np.ndarray) -> np.ndarray:
    depth = _COARSE * ndimage.distance_transform_edt(_thinned(brain))
    deep = np.repeat(np.repeat(np.repeat(depth > _DEEP, 2, 0), 2, 1), 2, 2)
    deep = deep[tuple(slice(side) for side in raw.shape)]
    components, _ = ndimage.label((raw < _CSF_BELOW) & deep)
    chosen = np.zeros(raw.shape, dtype=bool)
    for side in (-1, 1):
        seed = tuple(np.round(np.array(_IN_VENTRICLE) * (side, 1, 1) - origin).astype(int))
        chosen |= components == components[seed]
    return chosen


def _signed_distance(region: np.ndarray) -> np.ndarray:
    """Distance (mm) to the surface of `region`, negative inside, at most `_FAR`, float32."""
    margin = int(_FAR)
    near = tuple(
        slice(max(0, int(where.min()) - margin), int(where.max()) + margin)
        for where in np.nonzero(region)
    )
    outside = ndimage.distance_transform_edt(~region[near])
    inside = ndimage.distance_transform_edt(region[near])
    distance = np.full(region.shape, _FAR, dtype=np.float32)
    distance[near] = np.maximum(outside - 0.5, 0) - np.maximum(inside - 0.5, 0)
    return np.minimum(distance, np.float32(_FAR))


def _edge(brain: np.ndarray) -> np.ndarray:
    """0.5 outside to -0.5 inside; the lattice's faces, where the template cuts, are outside."""
    edge = 0.5 - _thinned(ndimage.gaussian_filter(brain.astype(np.float32), 1.0))
    closed = np.full(edge.shape, 0.5, dtype=np.float32)
    closed[1:-1, 1:-1, 1:-1] = edge[1:-1, 1:-1, 1:-1]
    return closed


def _sharpened(raw: np.ndarray, brain: np.ndarray, spacing: float) -> np.ndarray:
    """The template is a mean of many people and soft: its edges are steepened.

    Beyond the brain it goes on as the mean of the voxels nearby, for interpolation at the edge.
    """
    weight = ndimage.gaussian_filter(brain.astype(np.float32), 2.0)
    spread = ndimage.gaussian_filter(raw, 2.0) / np.maximum(weight, 1e-3)
    filled = np.where(brain, raw, spread)
    sharp = filled + 1.2 * (filled - ndimage.gaussian_filter(filled, 2.0))
    if spacing > 1.2:
        sharp = ndimage.gaussian_filter(sharp, 0.35 * spacing)
    return np.clip(sharp, 0, 1).astype(np.float32)


def _thinned(volume: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(volume[::_COARSE, ::_COARSE, ::_COARSE])
