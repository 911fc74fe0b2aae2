"""Whether an image shows a whole head or a brain alone, told by rays from its middle outwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SPACING = 2.0  # mm, of the images that are looked at
_RAYS = 1500
_CAP = 12.0  # degrees around a ray over which profiles are averaged: folds differ, a skull does not
_REACH = 160  # mm from the middle
_STEP = 1.0  # mm along a ray
_DEPTH = 41  # steps inwards from the outermost tissue in which a skull is sought
_UPPER, _LOWER = 0.2, -0.8  # of a ray's direction: above brows and ears; down to the neck
# Of the brightness that a tenth of the tissue passes: what is a piece, and a ray's outermost.
_TISSUE, _SEEN = 0.3, 0.25
_FAINT, _PLAIN = 0.10, 0.15  # how much darker a layer is than what lies on either side of it
# The largest of 208 brains (IXI at 2 mm, 20 to 79 years; ds002748 at 1.5 mm), in brackets of 70
# virtual ones, whose fluid is drawn wide; and the least of what it has to tell alone, of the heads
# in docs/measuring.md. (123 more of the demo model, virtual or spoilt: 0.26, 0.12, 1.20.)
MOST_GAP = 0.48  # 0.17 (0.44), and 0.53
MOST_GAP_ALL_ROUND = 0.26  # 0.07 (0.21), and 0.39
MOST_BELOW = 1.3  # 1.14 (1.20), and 1.44 of a brain with its neck


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What tells a head from a brain.

    Attributes:
        gap: share of the upper surface below which a darker layer lies, and tissue below that.
        gap_all_round: share of the whole surface, of layers that are plainly darker.
        below: how far tissue reaches downwards, over how far upwards.
    """

    gap: float
    gap_all_round: float
    below: float

    @property
    def why(self) -> str:
        """What is as of a head, in words; empty of a brain."""
        if self.gap > MOST_GAP:
            return f"a dark layer, as of skull, below {self.gap:.0%} of its upper surface"
        if self.gap_all_round > MOST_GAP_ALL_ROUND:
            return f"a dark layer, as of skull, below {self.gap_all_round:.0%} of its surface"
        if self.below > MOST_BELOW:
            return f"tissue that reaches {self.below:.2f} times as far down as up, as of a neck"
        return ""


def signs(voxels: np.ndarray) -> Signs:
    """Those of an image at 2 mm, (X, Y, Z) float32 along the world's axes (RAS), background 0.

    Rays leave the middle of the largest piece of tissue. Along each, from the outermost tissue
    inwards, a brain grows brighter; a head has bright scalp, dark skull and then the brain. A
    sulcus is as dark, but lies otherwise on the next ray: profiles are averaged over caps.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(voxels, 0.8)
    bright = float(np.percentile(smooth[smooth > 0.1 * smooth.max()], 90))
    rays, caps = _directions()
    steps = np.arange(0, _REACH, _STEP) / SPACING
    points = _middle(smooth > _TISSUE * bright)[:, None, None] + rays[:, :, None] * steps
    seen = ndimage.map_coordinates(smooth, points.reshape(3, -1), order=1, mode="constant")
    seen = seen.reshape(len(caps), len(steps)) / bright
    edge = _outermost(seen, _SEEN)
    dips = _dips(caps @ _inwards(seen, edge))
    upper, lower = rays[2] > _UPPER, rays[2] < _LOWER
    return Signs(
        gap=float((dips[upper] > _FAINT).mean()),
        gap_all_round=float((dips > _PLAIN).mean()),
        below=float(np.median(edge[lower]) / max(1.0, float(np.median(edge[upper])))),
    )


@lru_cache(maxsize=1)
def _directions() -> tuple[np.ndarray, np.ndarray]:
    """(3, R) unit vectors evenly over the sphere (Fibonacci's spiral), and (R, R) weights that
    average over each one's cap."""
    number = np.arange(_RAYS) + 0.5
    polar, turn = np.arccos(1 - 2 * number / _RAYS), np.pi * (1 + np.sqrt(5)) * number
    rays = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)])
    near = rays.T @ rays > np.cos(np.radians(_CAP))
    return rays, near / near.sum(axis=1, keepdims=True)


def _middle(tissue: np.ndarray) -> np.ndarray:
    """The middle of the largest piece's inside, (3,) in voxels."""
    from scipy import ndimage

    pieces, _ = ndimage.label(tissue)
    largest = pieces == 1 + np.argmax(np.bincount(pieces.ravel(), minlength=2)[1:])
    depth = ndimage.distance_transform_edt(largest)
    return np.asarray(np.argwhere(depth >= min(4.0, 0.6 * float(depth.max()))).mean(axis=0))


def _outermost(seen: np.ndarray, least: float) -> np.ndarray:
    """(R,) the last step of each ray with more than `least`; the last of all where none has."""
    return np.asarray(seen.shape[1] - 1 - np.argmax(seen[:, ::-1] > least, axis=1))


def _inwards(seen: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """(R, D) each ray from its edge inwards; beyond the middle it is bright."""
    places = edge[:, None] - np.arange(_DEPTH)
    found = np.take_along_axis(seen, np.maximum(places, 0), axis=1)
    return np.asarray(np.where(places >= 0, found, 1.0).clip(0, 1.2))


def _dips(profiles: np.ndarray) -> np.ndarray:
    """(R,) how much the darkest layer of each profile is darker than something on either side."""
    before = np.maximum.accumulate(profiles, axis=1)
    after = np.maximum.accumulate(profiles[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((np.minimum(before, after) - profiles).max(axis=1))
