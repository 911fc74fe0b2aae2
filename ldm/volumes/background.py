"""The background of a scan: what lies outside the head, and outside the scanned field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Of the scan's range: further above the darkest tissue the background is not the darkest.
_ABOVE_DARKEST = 0.1
_EQUAL = 0.005  # of the scan's range: such a difference is none, in a background of one value
_FLAT = 0.5  # share of the outermost voxels that are equal in a background of one value
_STRAY = (0.1, 99.9)  # percentiles between which a scan's range lies
_ENOUGH = 2**20  # voxels from which percentiles are told


@dataclass(frozen=True, kw_only=True)
class Background:
    """What the outermost voxels of a scan, the faces of its box, say of what lies outside.

    Attributes:
        value: their median.
        flat: whether they have one value (a mask), rather than noise.
        darkest: whether nothing of the scan is much darker.
        tolerance: differences that are none.
    """

    value: float
    flat: bool
    darkest: bool
    tolerance: float


def background(data: np.ndarray) -> Background:
    """The background of a scan (X, Y, Z)."""
    faces = np.concatenate(
        [data[[0, -1]].ravel(), data[:, [0, -1]].ravel(), data[..., [0, -1]].ravel()]
    )
    value = float(np.median(faces))
    low, high = _range(data)
    tolerance = _EQUAL * (high - low)
    return Background(
        value=value,
        flat=bool(np.mean(np.abs(faces - value) <= tolerance) >= _FLAT),
        darkest=value - low <= _ABOVE_DARKEST * (high - low),
        tolerance=tolerance,
    )


def settled(data: np.ndarray) -> tuple[np.ndarray, str | None]:
    """A scan (X, Y, Z) with nothing darker than its background, float32, and what was amiss.

    A background of one value between dark and bright tissue (a scan z-scored inside its mask)
    becomes as dark as the darkest tissue. One of noise (MP2RAGE) cannot be told from tissue and
    stays; only there the background is not the least value of what is returned.

    Returns:
        the scan, unchanged where it is settled already, and one line where its background was not
        the darkest, or None.
    """
    found = background(data)
    if found.darkest:
        return np.maximum(data, np.float32(found.value)), None
    told = f"background {found.value:.4g} is not the darkest of the scan"
    if not found.flat:
        return data, f"{told} but noise or tissue; it stays (--skull-strip takes it away)"
    outside = _outside(np.abs(data - np.float32(found.value)) <= found.tolerance)
    level = np.float32(_percentile(data[~outside], _STRAY[0]))
    return np.where(outside, level, np.maximum(data, level)), f"{told}: taken for a mask, blackened"


def masked(data: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A scan (X, Y, Z), as dark as its background, or darker, wherever `mask` is not."""
    found = background(data)
    level = np.float32(found.value if found.darkest else _percentile(data[mask], _STRAY[0]))
    return np.where(mask, np.maximum(data, level), level)


def masked_away(data: np.ndarray) -> np.ndarray | None:
    """Of a scan (X, Y, Z) that is settled, what a mask left black from the faces of the box inward,
    bool; None where its background is no mask's."""
    found = background(data)
    if not (found.flat and found.darkest):
        return None
    return _outside(data <= found.value + found.tolerance)


def _outside(alike: np.ndarray) -> np.ndarray:
    """Of the voxels that are alike, those that hang together with the faces of the box."""
    from scipy import ndimage

    parts, _ = ndimage.label(np.pad(alike, 1, constant_values=True), np.ones((3, 3, 3)))
    return np.asarray(parts[1:-1, 1:-1, 1:-1] == parts[0, 0, 0])


def _range(data: np.ndarray) -> tuple[float, float]:
    low, high = (_percentile(data, share) for share in _STRAY)
    return (low, high) if high > low else (float(data.min()), float(data.max()))


def _percentile(data: np.ndarray, share: float) -> float:
    values = data.ravel()
    return float(np.percentile(values[:: max(1, values.size // _ENOUGH)], share))
