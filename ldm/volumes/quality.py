"""The check that every volume passes before it is written, and the figures it leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
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


class Strictness(StrEnum):
    """How much of a model's bounds a volume has to keep.

    MODEL: all of them. LOOSE: each widened by its own width, to either side. OFF: none; it must
    only be finite and not empty.
    """

    MODEL = "model"
    LOOSE = "loose"
    OFF = "off"


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


def fit_bounds_by(figures: Sequence[dict[str, float]], levels: Sequence[str]) -> dict[str, Bounds]:
    """`fit_bounds` of each contrast's volumes alone.

    Args:
        levels: the contrast of each.
    """
    return {
        level: fit_bounds([one for one, own in zip(figures, levels, strict=True) if own == level])
        for level in dict.fromkeys(levels)
    }


def loosened(bounds: Bounds, strictness: Strictness) -> Bounds:
    """The bounds that are left of a model's own."""
    if strictness is Strictness.MODEL:
        return bounds
    if strictness is Strictness.OFF:
        return {"foreground_fraction": (_least("foreground_fraction"), 1.0)}
    return {
        name: (max(low - (high - low), _least(name)), high + (high - low))
        for name, (low, high) in bounds.items()
    }


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
    """Bounds around the figures of real volumes: their 1 to 99 percentiles, widened to each side
    by `margin` times that range, and its half by more the fewer they are (`tolerance`). NaN is a
    figure that is not known of a volume."""
    bounds: Bounds = {}
    wider = margin + (tolerance(len(figures)) - 1) / 2
    for name in (name for name in ALL_FIGURES if name in figures[0]):
        known = [f[name] for f in figures if not math.isnan(f[name])]
        low, high = np.percentile(known, (1, 99))
        slack = wider * max(high - low, 0.1 * abs(high))
        low = max(low - slack, _least(name))
        bounds[name] = (round(float(low), 6), round(float(max(high + slack, low)), 6))
    return bounds


def tolerance(count: int) -> float:
    """How much wider than its own spread a sample of so many must be taken, to hold 98 % of where
    it comes from with 95 % confidence: the normal tolerance factor over its limit (Howe 1969)."""
    if count < 3:
        return tolerance(3)
    freedom = count - 1
    # The 5 % quantile of chi-squared, by Wilson & Hilferty 1931.
    third = 2 / (9 * freedom)
    chi2 = freedom * (1 - third + NormalDist().inv_cdf(0.05) * third**0.5) ** 3
    return float(math.sqrt(freedom * (1 + 1 / count) / chi2))


def _least(name: str) -> float:
    """The least that a figure can be in a head; all but these two are above 0 there."""
    return {SIZE_ERROR: -math.inf, "symmetry": -1.0}.get(name, 1e-6)
