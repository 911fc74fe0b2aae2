"""The check that every volume passes before it is written, and the figures it leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldm.volumes.brain_size import BrainSize
from ldm.volumes.conversion import LEVELS, NOT_FINITE

# A voxel this bright (of 0..1) belongs to the head.
FOREGROUND = 0.1
# And one this bright, of the foreground's median, to grey or white matter.
BRIGHT = 0.7

FIGURES = {
    "foreground_fraction": "share of the grid's voxels brighter than 0.1",
    "mean_intensity": "mean intensity (0..1) of the foreground",
    "edge_strength": "mean absolute difference (0..1) of neighbouring foreground voxels",
    "tissue_contrast": "interquartile range of the foreground's intensities over their median",
    "symmetry": "correlation (-1..1) of the volume with its left-right mirror image",
    "bright_fraction": "share of the foreground's voxels brighter than 0.7 times their median",
}
SIZE_ERROR = "brain_size_error"
# What is compared with the covariates that were asked for.
ALL_FIGURES = {
    **FIGURES,
    SIZE_ERROR: "log of the size that the brain seems to have over the one asked for; 0.05 is 5 % "
    "too large",
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


def check(
    levels: np.ndarray,
    bounds: Bounds = DEFAULT_BOUNDS,
    *,
    size: BrainSize | None = None,
    asked: Mapping[str, Any] | None = None,
) -> Quality:
    """Finite, not empty, and each figure within `bounds`.

    Args:
        levels: (X, Y, Z) uint16.
        size: what tells the brain's size, of a model that knows its cohort's.
        asked: the covariates asked for, physical units.
    """
    if (levels == NOT_FINITE).any():
        return Quality(figures=dict.fromkeys(ALL_FIGURES, float("nan")), error="not finite")
    found = measure(levels)
    found[SIZE_ERROR] = size.error(found, asked or {}) if size else float("nan")
    for name, (low, high) in bounds.items():
        if name == SIZE_ERROR and math.isnan(found[name]):
            continue  # nothing to compare with
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
    values = volume[head]
    low, median, high = np.percentile(values, (25, 50, 75))
    edges, pairs = 0.0, 0
    for axis in range(3):
        ahead = np.delete(head, 0, axis) & np.delete(head, -1, axis)
        edges += float(np.abs(np.diff(volume, axis=axis))[ahead].sum(dtype=np.float64))
        pairs += int(ahead.sum())
    return {
        "foreground_fraction": count / head.size,
        "mean_intensity": float(values.mean(dtype=np.float64)),
        "edge_strength": edges / max(pairs, 1),
        "tissue_contrast": float((high - low) / median),  # all one grey, or tissues far apart
        "symmetry": _symmetry(volume),
        "bright_fraction": float((values > BRIGHT * median).mean()),
    }


def _symmetry(volume: np.ndarray) -> float:
    """Of the whole grid, whose middle lies between the hemispheres; x runs from left to right."""
    centred = volume - np.float32(volume.mean(dtype=np.float64))
    spread = float(np.square(centred).sum(dtype=np.float64))
    return float((centred * centred[::-1]).sum(dtype=np.float64)) / spread if spread else 1.0


def fit_bounds(figures: list[dict[str, float]], margin: float = 1.0) -> Bounds:
    """Bounds around the figures of real volumes: their 1 to 99 percentiles, widened by
    `margin` times that range to each side (quantiles of the cohort, no subject's own). NaN is a
    figure that is not known of a volume."""
    bounds: Bounds = {}
    for name in (name for name in ALL_FIGURES if name in figures[0]):
        known = [f[name] for f in figures if not math.isnan(f[name])]
        low, high = np.percentile(known, (1, 99))
        slack = margin * max(high - low, 0.1 * abs(high))
        least = -np.inf if name == SIZE_ERROR else 1e-6  # of the others none is 0 in a head
        bounds[name] = (round(float(max(low - slack, least)), 6), round(float(high + slack), 6))
    return bounds
