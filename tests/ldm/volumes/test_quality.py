"""The check every volume passes: what it accepts, what it refuses and why."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ldm.volumes.conversion import LEVELS, NOT_FINITE, quantise
from ldm.volumes.quality import (
    ALL_FIGURES,
    DEFAULT_BOUNDS,
    FIGURES,
    Strictness,
    check,
    fit_bounds,
    loosened,
    measure,
    tolerance,
)


def head(brightness: float = 0.7, radius: float = 0.7) -> np.ndarray:
    """A ball with some texture, (16, 20, 16) uint16."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (16, 20, 16)), indexing="ij")
    texture = 1 + 0.1 * np.random.default_rng(0).standard_normal(x.shape)
    return quantise(brightness * texture * (x**2 + y**2 + z**2 < radius**2))


def test_a_head_passes_with_all_figures() -> None:
    quality = check(head())
    assert (quality.ok, quality.error) == (True, None)
    assert list(quality.figures) == list(ALL_FIGURES)


def test_figures_of_a_volume_worked_out_by_hand() -> None:
    levels = np.zeros((2, 2, 2), dtype=np.uint16)
    levels[0, 0, 0], levels[1, 0, 0], levels[1, 1, 0] = LEVELS, LEVELS // 5, LEVELS // 5
    assert measure(levels) == pytest.approx(
        {
            "foreground_fraction": 3 / 8,
            "mean_intensity": 1.4 / 3,
            "edge_strength": 0.8 / 2,
            "tissue_contrast": (0.6 - 0.2) / 0.2,
            "symmetry": 0.155 / 0.835,
            "bright_fraction": 1.0,
        }
    )


def test_half_a_head_is_refused_and_a_mirrored_one_is_as_symmetric() -> None:
    whole = head()
    assert measure(whole)["symmetry"] > 0.8
    assert measure(whole[::-1]) == pytest.approx(measure(whole))
    half = whole.copy()
    half[:8] = 0
    figures = [measure(head(radius=radius)) for radius in (0.68, 0.7, 0.72)]
    bounds = {**fit_bounds(figures), "foreground_fraction": (0.0, 1.0)}
    assert check(whole, bounds).ok
    quality = check(half, bounds)
    assert quality.error is not None
    assert quality.error.startswith("symmetry")


def test_tissues_of_one_grey_are_told_from_tissues_apart() -> None:
    x = np.linspace(-1, 1, 16)[:, None, None]
    ball = np.broadcast_to(np.abs(x) < 0.7, (16, 20, 16))
    apart = quantise(ball * np.where(np.abs(x) < 0.3, 0.4, 0.8))
    assert measure(apart)["tissue_contrast"] == pytest.approx(0.5, abs=0.01)
    assert measure(quantise(ball * 0.6))["tissue_contrast"] == 0


@pytest.mark.parametrize(
    ("levels", "figure"),
    [
        (np.zeros((16, 20, 16), dtype=np.uint16), "foreground_fraction 0,"),
        (np.full((16, 20, 16), 2_000, dtype=np.uint16), "foreground_fraction 1,"),
        (head(brightness=1.5), "mean_intensity"),
        (quantise((head() > 0) * 0.5), "edge_strength 0,"),
        (
            np.random.default_rng(0).integers(0, 2, (16, 20, 16), dtype=np.uint16) * 3_700 + 390,
            "edge_strength",
        ),
    ],
    ids=["black", "filled", "saturated", "flat", "snow"],
)
def test_what_is_no_head_is_refused_with_figure_and_bounds(levels: np.ndarray, figure: str) -> None:
    bounds = {**DEFAULT_BOUNDS, "foreground_fraction": (0.02, 0.98)}
    if figure == "edge_strength":
        bounds["foreground_fraction"] = (0, 1)
        levels = np.maximum(levels, 410)
    quality = check(levels, bounds)
    assert not quality.ok
    assert quality.error is not None
    assert quality.error.startswith(figure)
    assert "expected" in quality.error


def test_one_voxel_that_is_not_finite_refuses_the_volume() -> None:
    levels = head()
    levels[0, 0, 0] = NOT_FINITE
    quality = check(levels)
    assert quality.error == "not finite"
    assert all(math.isnan(value) for value in quality.figures.values())


def test_bounds_fitted_to_volumes_accept_them_and_refuse_others() -> None:
    heads = [head(brightness, radius) for brightness in (0.5, 0.6) for radius in (0.7, 0.75, 0.8)]
    bounds = fit_bounds([measure(levels) for levels in heads])
    assert all(check(levels, bounds).ok for levels in heads)
    assert not check(head(brightness=0.2), bounds).ok
    assert not check(head(radius=0.3), bounds).ok


def test_fitted_bounds_are_never_zero_so_that_black_is_always_refused() -> None:
    figures = [dict.fromkeys(FIGURES, value) for value in (0.01, 0.5, 0.9)]
    assert not check(np.zeros((8, 8, 8), dtype=np.uint16), fit_bounds(figures, margin=5)).ok


def test_the_fewer_the_people_the_wider_their_bounds() -> None:
    """Howe's factors against tables of two-sided tolerance (98 % held, 95 % confident)."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        few = rng.normal(0.5, 0.02, 10)
        low, high = fit_bounds([{"mean_intensity": float(x)} for x in few], margin=0.5)[
            "mean_intensity"
        ]
        held.append(
            np.mean(np.abs(rng.normal(0.5, 0.02, 200) - (low + high) / 2) <= (high - low) / 2)
        )
    assert np.mean(np.array(held) >= 0.98) > 0.95
    assert tolerance(20) > tolerance(131) > tolerance(10**6) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("value", [0.0, -0.4, 0.7])
def test_bounds_of_any_figures_are_in_order_and_hold_what_they_were_fitted_to(value: float) -> None:
    """Reconstructions of a training of twenty steps may be black, or less symmetric than noise."""
    bounds = fit_bounds([dict.fromkeys(FIGURES, value)] * 3)
    assert all(low <= high for low, high in bounds.values())
    low, high = bounds["symmetry"]
    assert low <= value <= high


def test_loose_bounds_are_three_times_as_wide_and_off_leaves_black_refused() -> None:
    bounds = {"mean_intensity": (0.4, 0.5), "symmetry": (0.8, 0.9)}
    loose = loosened(bounds, Strictness.LOOSE)
    assert loose["mean_intensity"] == pytest.approx((0.3, 0.6))
    assert loosened(bounds, Strictness.MODEL) == bounds
    off = loosened(bounds, Strictness.OFF)
    assert check(head(brightness=0.9), off).ok
    assert not check(np.zeros((8, 8, 8), dtype=np.uint16), off).ok
    broken = head()
    broken[0, 0, 0] = NOT_FINITE
    assert check(broken, off).error == "not finite"
