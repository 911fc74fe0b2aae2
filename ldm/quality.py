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
}

Bounds = dict[str, tuple[float, float]]
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
    }


def fit_bounds(figures: list[dict[str, float]], margin: float = 1.0) -> Bounds:
    """Bounds around the figures of real volumes: their 1 to 99 percentiles, widened by
    `margin` times that range to each side (quantiles of the cohort, no subject's own)."""
    bounds: Bounds = {}
    for name in FIGURES:
        low, high = np.percentile([f[name] for f in figures], (1, 99))
        slack = margin * max(high - low, 0.1 * abs(high))
        bounds[name] = (round(float(max(low - slack, 1e-6)), 6), round(float(high + slack), 6))
    return bounds
