"""The box that the segmenter looks into: 2 mm, along the world's axes, around a brain alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldm.anatomy.inspection.whole_head import signs
from ldm.errors import LdmError
from ldm.volumes.resampling import smoothed_for

SPACING = 2.0  # mm
SHAPE = (80, 96, 80)  # voxels; a larger brain gets a larger box
MULTIPLE = 16  # of which every side is one
_MARGIN = 1  # voxels around the brain at least
_STRAY = 0.0005  # share of bright voxels at either end of an axis that may be no brain
DARK = 0.05  # of the brain's brightness: below it is background
# Litres that are brighter than background: what a brain with its fluid may have.
LITRES = (0.3, 2.5)
_WHITEST = 1.2  # of the brightness that the brightest 0.5 % exceed: brighter is cut


@dataclass(frozen=True, kw_only=True)
class Box:
    """A brain in the segmenter's box.

    Attributes:
        voxels: (X, Y, Z) float32, background 0, the brain's 99.5 percentile 1.
        affine: (4, 4) voxel to world mm.
    """

    voxels: np.ndarray
    affine: np.ndarray


def to_box(data: np.ndarray, affine: np.ndarray, shape: tuple[int, int, int] | None = None) -> Box:
    """A brain-only T1w of any orientation, voxel size and shape in the box.

    An image on a lattice of 2 mm along the axes is cut and padded, not interpolated.

    Args:
        data: (X, Y, Z) float, background the darkest.
        affine: (4, 4) voxel to world mm.
        shape: of the box, whatever the brain's size; by default `SHAPE`, or what the brain needs.

    Raises:
        LdmError: not three-dimensional, not finite, empty, or no brain cut out of its head.
    """
    grey = _grey(data, affine)
    litres = _litres(grey, affine)
    if not LITRES[0] <= litres <= LITRES[1]:
        raise LdmError(
            f"measuring failed: {litres:.2f} litres are brighter than background, expected a brain "
            f"of {LITRES[0]} to {LITRES[1]}; is the skull still there (--skull-strip)?"
        )
    return _boxed(grey, affine, shape)


def whole_head(data: np.ndarray, affine: np.ndarray) -> str:
    """Why a T1w image is taken for a whole head, in words; empty of a brain alone.

    Args:
        data: (X, Y, Z) float, background the darkest.
        affine: (4, 4) voxel to world mm.

    Raises:
        LdmError: not three-dimensional, not finite, or empty.
    """
    grey = _grey(data, affine)
    if (litres := _litres(grey, affine)) > LITRES[1]:
        return f"{litres:.2f} litres brighter than background, of a brain {LITRES[1]} at most"
    return signs(_boxed(grey, affine, None).voxels).why


def refuse_head(box: Box) -> None:
    """Refuse a whole head, and a brain with much left around it: its volumes would be wrong.

    Raises:
        LdmError: what was seen, and what to do.
    """
    if why := signs(box.voxels).why:
        raise LdmError(
            f"measuring failed: it looks like a whole head, expected a brain alone ({why}); take "
            "the skull away first (--skull-strip)"
        )


def _grey(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The image with its background 0 and the 99.5 percentile of what is brighter 1, float32."""
    _check(data, affine)
    low, bright = _range(data)
    return np.asarray(np.clip((data - low) / (bright - low), 0, _WHITEST), dtype=np.float32)


def _litres(grey: np.ndarray, affine: np.ndarray) -> float:
    return float((grey > DARK).sum() * abs(np.linalg.det(affine[:3, :3])) / 1e6)


def _boxed(grey: np.ndarray, affine: np.ndarray, shape: tuple[int, int, int] | None) -> Box:
    from scipy.ndimage import affine_transform

    place, sides_of_box = _placed(grey > DARK, affine, shape)
    matrix = np.linalg.inv(affine) @ place
    voxels = affine_transform(
        smoothed_for(SPACING, grey, affine),
        matrix[:3, :3],
        matrix[:3, 3],
        sides_of_box,
        order=1,
        mode="grid-constant",
        cval=0.0,
    )
    return Box(voxels=normalise(voxels), affine=place)


def normalise(voxels: np.ndarray) -> np.ndarray:
    """Brightness as the network expects it: the brain's 99.5 percentile becomes 1, float32."""
    brain = voxels[voxels > DARK * voxels.max()]
    bright = float(np.percentile(brain, 99.5)) if brain.size else 1.0
    return np.asarray(np.clip(voxels / bright, 0, _WHITEST), dtype=np.float32)


def _check(data: np.ndarray, affine: np.ndarray) -> None:
    if data.ndim != 3 or affine.shape != (4, 4):
        raise LdmError(
            f"measuring failed: an image of {data.ndim} dimensions and an affine of shape "
            f"{affine.shape}: expected 3 and (4, 4)"
        )
    if not np.isfinite(data).all() or not np.isfinite(affine).all():
        raise LdmError("measuring failed: values that are not finite numbers")
    if not abs(np.linalg.det(affine[:3, :3])) > 0:
        raise LdmError("measuring failed: an affine that is flat, expected voxel to world mm")
    if not data.size or not data.max() > data.min():
        raise LdmError("measuring failed: an empty image, every voxel has the same value")


def _range(data: np.ndarray) -> tuple[float, float]:
    """Background, and the 99.5 percentile of what is brighter."""
    low = float(data.min())
    bright = float(np.percentile(data[data > low], 99.5))
    seen = data[data > low + DARK * (bright - low)]
    return low, float(np.percentile(seen, 99.5)) if seen.size else bright


def _placed(
    brain: np.ndarray, affine: np.ndarray, wanted: tuple[int, ...] | None
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The box's affine and shape: around the brain, on the image's own lattice where it can be."""
    voxels = np.argwhere(brain)
    voxels = voxels[:: max(1, len(voxels) // 200_000)]
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    low, high = np.quantile(world, (_STRAY, 1 - _STRAY), axis=0)
    need = np.ceil((high - low) / SPACING).astype(int) + 1 + 2 * _MARGIN
    shape = wanted or tuple(
        max(usual, int(-(-side // MULTIPLE) * MULTIPLE))
        for usual, side in zip(SHAPE, need, strict=True)
    )
    origin = (low + high) / 2 - SPACING * (np.array(shape) - 1) / 2
    steps = (origin - affine[:3, 3]) / SPACING
    # Halves go down, whichever corner the image's first voxel is in.
    origin -= SPACING * (steps - np.floor(steps + 0.499))
    place = np.diag([SPACING] * 3 + [1.0])
    place[:3, 3] = origin
    return place, shape
