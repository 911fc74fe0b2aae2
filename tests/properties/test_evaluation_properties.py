"""What holds for any features and any volumes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.linalg import qr

from ldm.evaluation.coverage import coverage
from ldm.evaluation.distances import frechet_distance, kernel_distance
from ldm.evaluation.similarity import four_g_r_ssim, ms_ssim
from ldm.evaluation.statistics import intervals, ranking

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(4, 12)


def sets(seed: int, n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * rng.uniform(0.1, 3), rng.standard_normal((m, d)) + 0.5


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES, SIZES, st.integers(1, 15))
def test_distances_are_the_same_both_ways_in_any_order_and_turned(
    seed: int, n: int, m: int, d: int
) -> None:
    x, y = sets(seed, n, m, d)
    rng = np.random.default_rng(seed)
    turn = qr(rng.standard_normal((d, d)))[0]
    frechet, kernel = frechet_distance(x, y, groups=2).estimate.value, kernel_distance(x, y).value
    near = {"rel": 1e-6, "abs": 1e-8}
    for a, b in ((y, x), (x[rng.permutation(n)], y), (x @ turn, y @ turn)):
        assert frechet_distance(a, b, groups=2).estimate.value == pytest.approx(frechet, **near)
        assert kernel_distance(a, b).value == pytest.approx(kernel, **near)
    moved = frechet_distance(x + 7, y + 7, groups=2).estimate.value
    assert moved == pytest.approx(frechet, **near)
    assert frechet >= 0


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES, SIZES, st.integers(1, 6))
def test_coverage_is_blind_to_scale_and_recall_is_precision_the_other_way(
    seed: int, n: int, m: int, d: int
) -> None:
    x, y = sets(seed, n, m, d)
    found, scaled, back = coverage(x, y, k=2), coverage(3 * x, 3 * y, k=2), coverage(y, x, k=2)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(found, name).value == pytest.approx(getattr(scaled, name).value)
        assert 0 <= getattr(found, name).low <= getattr(found, name).value
    assert found.recall.value == back.precision.value


@settings(max_examples=60, deadline=None)
@given(
    npst.arrays(np.float64, st.integers(1, 12), elements=st.integers(-5, 5)),
    npst.arrays(np.float64, st.integers(1, 12), elements=st.integers(-5, 5)),
)
def test_an_auc_lies_in_its_interval_and_turns_over_with_its_groups(
    a: np.ndarray, b: np.ndarray
) -> None:
    found, turned = ranking.auc(a, b), ranking.auc(b, a)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    assert (found.value, found.low) == pytest.approx((1 - turned.value, 1 - turned.high), abs=1e-6)
    assert ranking.auc(a**3, b**3) == found  # only the order counts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.data())
def test_a_share_lies_in_its_interval(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n))
    found = intervals.proportion(count, n)
    assert 0 <= found.low <= count / n <= found.high <= 1
    assert found.low < found.high


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.floats(0, 1))
def test_similarity_is_bounded_and_one_only_of_a_volume_and_itself(seed: int, flat: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.random((17, 18, 16), dtype=np.float32) for _ in range(2))
    a[rng.random(a.shape) < flat] = 0
    for index, low in ((ms_ssim, 0), (four_g_r_ssim, -1)):
        assert index(a, a) == pytest.approx(1, abs=1e-5)
        assert low <= index(a, b) < 0.9
