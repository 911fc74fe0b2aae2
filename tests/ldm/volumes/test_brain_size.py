"""The size that a brain seems to have: fitted to real volumes, held against what was asked for."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.volumes.brain_size import COVARIATE, FEWEST, BrainSize, fit_brain_size
from ldm.volumes.conversion import quantise
from ldm.volumes.quality import ALL_FIGURES, DEFAULT_BOUNDS, SIZE_ERROR, check, fit_bounds, measure

VOXEL = 15.625  # mm3


def head(tissue: float, radius: float = 0.8) -> np.ndarray:
    """A dim ball with a bright one of `tissue` of its radius inside, (24, 24, 24) uint16."""
    axis = np.linspace(-1, 1, 24)
    far = np.sqrt(sum(x**2 for x in np.meshgrid(axis, axis, axis, indexing="ij")))
    texture = 1 + 0.05 * np.random.default_rng(0).standard_normal(far.shape)
    return quantise(texture * (0.25 * (far < radius) + 0.45 * (far < radius * tissue)))


def volume(levels: np.ndarray) -> float:
    return float((levels > 0.5 * 4095).sum() * VOXEL)


@pytest.fixture(scope="module")
def fitted() -> BrainSize:
    rng = np.random.default_rng(1)
    heads = [head(rng.uniform(0.85, 0.97), rng.uniform(0.7, 0.9)) for _ in range(40)]
    size = fit_brain_size([measure(levels) for levels in heads], [volume(h) for h in heads])
    assert size is not None
    return size


def test_the_size_of_heads_it_never_saw_is_told_to_a_few_per_cent(fitted: BrainSize) -> None:
    for levels in (head(0.9, 0.75), head(0.93, 0.87)):
        figures = measure(levels)
        assert abs(fitted.error(figures, {COVARIATE: volume(levels)})) < 0.03
        tenth_more = {COVARIATE: 1.1 * volume(levels)}
        shrunk = fitted.error(figures, {COVARIATE: volume(levels)}) - math.log(1.1)
        assert fitted.error(figures, tenth_more) == pytest.approx(shrunk)


def test_a_volume_of_another_size_than_asked_for_is_refused_by_that_bound_alone(
    fitted: BrainSize,
) -> None:
    levels = head(0.9)
    bounds = {**DEFAULT_BOUNDS, SIZE_ERROR: (-0.1, 0.1)}
    assert check(levels, bounds, size=fitted, asked={COVARIATE: volume(levels)}).ok
    quality = check(levels, bounds, size=fitted, asked={COVARIATE: 1.3 * volume(levels)})
    assert quality.error is not None
    assert quality.error.startswith("brain_size_error -0.2")
    assert list(quality.figures) == list(ALL_FIGURES)


@pytest.mark.parametrize("asked", [None, {}, {"age": 70.0}, {COVARIATE: None}, {COVARIATE: 0.0}])
def test_where_no_size_was_asked_for_nothing_is_compared(
    fitted: BrainSize, asked: dict | None
) -> None:
    quality = check(head(0.9), {SIZE_ERROR: (-0.1, 0.1)}, size=fitted, asked=asked)
    assert quality.ok
    assert math.isnan(quality.figures[SIZE_ERROR])


def test_a_black_volume_has_no_size(fitted: BrainSize) -> None:
    black = np.zeros((8, 8, 8), dtype=np.uint16)
    assert math.isnan(fitted.error(measure(black), {COVARIATE: 1e6}))
    assert not check(black, DEFAULT_BOUNDS, size=fitted, asked={COVARIATE: 1e6}).ok


def test_nothing_is_fitted_to_few_subjects_nor_to_sizes_that_the_figures_do_not_tell() -> None:
    rng = np.random.default_rng(2)
    figures = [measure(head(tissue)) for tissue in rng.uniform(0.85, 0.97, FEWEST)]
    known = np.exp(rng.normal(14, 0.1, FEWEST))
    assert fit_brain_size(figures, known) is None
    truth = np.array([f["bright_fraction"] * f["foreground_fraction"] for f in figures])
    assert fit_brain_size(figures[1:], truth[1:]) is None
    assert fit_brain_size([figures[0]] * FEWEST, known) is None


def test_fitted_bounds_reach_to_both_sides_of_no_error() -> None:
    figures = [{SIZE_ERROR: value} for value in np.linspace(-0.03, 0.03, 50)]
    low, high = fit_bounds(figures)[SIZE_ERROR]
    assert low == pytest.approx(-high, rel=1e-3)
    assert -0.12 < low < -0.06


def test_it_travels_as_json_and_refuses_what_is_no_number(fitted: BrainSize) -> None:
    assert BrainSize.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    with pytest.raises(LdmError, match="brain_size head nan"):
        BrainSize.from_json({**fitted.to_json(), "head": float("nan")})
