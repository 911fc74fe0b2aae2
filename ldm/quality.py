"""The check that every volume passes before it is written, and the figures it leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldm.volumes import LEVELS, NOT_FINITE

# A voxel this bright (of 0..1) belongs to the head.
FOREGROUND = 0.1

FIGURES = {
    "foreground_fraction": "share of the grid's voxels brighter than 0.1",
    "mean_intensity": "mean intensity (0..1) of the foreground",
    "edge_strength": "mean absolute difference (0..1) of neighbouring foreground voxels",
    "tissue_contrast": "interquartile range of the foreground's intensities over their median",
    "symmetry": "correlation (-1..1) of the volume with its left-right mirror image",
}

Bounds = dict[str, tuple[float, float]]
# Of a model of which nothing is known. How contrasted and symmetric its heads are depends on the
# grid and on what was cut away, so those two have bounds only where they were fitted to a cohort.
DEFAULT_BOUNDS: Bounds = {
    "foreground_fraction": (0.02, 0.98),
    "mean_intensity": (0.12, 0.95),
    "edge_strength": (0.002, 0.3),
}


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What the check found: `error` says in words why a volume must not be released."""

    figures: dict[str, float]
    error: str | None

    @property
    def ok(self) -> bool:
        return self.error is None


def check(levels: np.ndarray, bounds: Bounds = DEFAULT_BOUNDS) -> Quality:
    """Finite, not empty, and each figure within `bounds`; `levels` is (X, Y, Z) uint16."""
    if (levels == NOT_FINITE).any():
        return Quality(figures=dict.fromkeys(FIGURES, float("nan")), error="not finite")
    found = measure(levels)
    for name, (low, high) in bounds.items():
        if not low <= found[name] <= high:
            return Quality(
                figures=found,
                error=f"{name} {found[name]:.4g}, expected {low:.4g} to {high:.4g}",
            )
    return Quality(figures=found, error=None)


def measure(levels: np.ndarray) -> dict[str, float]:
    """The figures of `FIGURES` for one volume (X, Y, Z) uint16."""
    volume = levels.astype(np.float32) / LEVELS
    head = volume > FOREGROUND
    count = int(head.sum())
    if count == 0:
        return dict.fromkeys(FIGURES, 0.0)
    edges, pairs = 0.0, 0
    for axis in range(3):
        ahead = np.delete(head, 0, axis) & np.delete(head, -1, axis)
        edges += float(np.abs(np.diff(volume, axis=axis))[ahead].sum(dtype=np.float64))
        pairs += int(ahead.sum())
    return {
        "foreground_fraction": count / head.size,
        "mean_intensity": float(volume[head].mean(dtype=np.float64)),
        "edge_strength": edges / max(pairs, 1),
        "tissue_contrast": _contrast(volume[head]),
        "symmetry": _symmetry(volume),
    }


def _contrast(values: np.ndarray) -> float:
    """Of the foreground's intensities: grey and white matter far apart, or all one grey."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return float((high - low) / middle)


def _symmetry(volume: np.ndarray) -> float:
    """Of the whole grid, whose middle lies between the hemispheres; x runs from left to right."""
    centred = volume - np.float32(volume.mean(dtype=np.float64))
    spread = float(np.square(centred).sum(dtype=np.float64))
    return float((centred * centred[::-1]).sum(dtype=np.float64)) / spread if spread else 1.0


def fit_bounds(figures: list[dict[str, float]], margin: float = 1.0) -> Bounds:
    """Bounds around the figures of real volumes: their 1 to 99 percentiles, widened by
    `margin` times that range to each side (quantiles of the cohort, no subject's own)."""
    bounds: Bounds = {}
    for name in FIGURES:
        low, high = np.percentile([f[name] for f in figures], (1, 99))
        slack = margin * max(high - low, 0.1 * abs(high))
        bounds[name] = (round(float(max(low - slack, 1e-6)), 6), round(float(high + slack), 6))
    return bounds
