"""Precision, recall, density and coverage where the answer is known, and in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ldm.errors import LdmError
from ldm.evaluation.coverage import coverage
from ldm.evaluation.statistics import neighbours
from ldm.evaluation.statistics.neighbours import nearest


def values(found) -> list[float]:  # type: ignore[no-untyped-def]
    return [found.precision.value, found.recall.value, found.density.value, found.coverage.value]


def test_a_line_of_points_gives_what_one_counts_by_hand() -> None:
    real = np.array([[0.0], [1.0], [2.0], [10.0]])  # balls of k = 1: 1, 1, 1, 8
    synthetic = np.array([[0.5], [0.9], [50.0]])  # balls: 0.4, 0.4, 49.1
    found = coverage(real, synthetic, k=1)
    # 0.5 lies in the balls of 0 and 1; 0.9 in those of 0 and 1 (2 is 1.1 away); 50 in none
    assert found.precision.value == pytest.approx(2 / 3)
    assert found.density.value == pytest.approx(4 / 3)
    assert found.coverage.value == pytest.approx(2 / 4)
    # every real point but none outside: 0 lies 50 from 50, 2 lies 48 and 10 lies 40 from it
    assert found.recall.value == pytest.approx(3 / 4)
    assert (found.precision.n, found.recall.n, found.k) == (3, 4, 1)


def test_equal_distributions_give_a_density_of_one_and_cover_each_other() -> None:
    rng = np.random.default_rng(0)
    found = coverage(rng.standard_normal((800, 8)), rng.standard_normal((800, 8)))
    assert found.density.low < 1 < found.density.high
    # Naeem et al. 2020, eq. 9: at equal sizes coverage is expected at 1 - 2^-k, about
    assert found.coverage.value == pytest.approx(1 - 2**-5, abs=0.02)


def test_a_collapsed_model_is_precise_and_covers_nothing_a_scattered_one_is_not_precise() -> None:
    rng = np.random.default_rng(1)
    real = rng.standard_normal((300, 6))
    collapsed = coverage(real, real[0] + 0.01 * rng.standard_normal((300, 6)))
    assert collapsed.precision.value > 0.95
    assert collapsed.recall.value < 0.05
    assert collapsed.coverage.value < 0.2
    scattered = coverage(real, 5 * rng.standard_normal((300, 6)))
    assert scattered.precision.value < 0.2
    assert scattered.recall.value > 0.9
    far = coverage(real, real + 100)
    assert values(far) == [0, 0, 0, 0]
    assert far.precision.high < 0.02


def test_a_set_against_itself_is_complete() -> None:
    x = np.random.default_rng(2).standard_normal((50, 4))
    precision, recall, _, covered = values(coverage(x, x, k=3))
    assert (precision, recall, covered) == (1, 1, 1)


@pytest.mark.parametrize("exclude_self", [False, True])
def test_neighbours_are_scipys_however_the_distances_are_cut(
    monkeypatch: pytest.MonkeyPatch, exclude_self: bool
) -> None:
    rng = np.random.default_rng(3)
    y = rng.standard_normal((40, 5)) + 1e4  # far from the origin: distances keep their digits
    x = y if exclude_self else rng.standard_normal((23, 5)) + 1e4
    distances = (
        cdist(x, y) + np.diag(np.full(40, np.inf))[: len(x)] if exclude_self else cdist(x, y)
    )
    order = np.argsort(distances, axis=1)[:, :4]
    monkeypatch.setattr(neighbours, "_BLOCK", 40 * 7)
    found = nearest(x, y, 4, exclude_self=exclude_self)
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.distances, np.take_along_axis(distances, order, 1), rtol=1e-7)


def test_the_nearer_of_two_reflections_counts_for_every_neighbour() -> None:
    rng = np.random.default_rng(4)
    x, flipped, y = (rng.standard_normal((n, 5)) for n in (12, 12, 30))
    both = np.minimum(cdist(x, y), cdist(flipped, y))
    found = nearest(x, y, 30, mirrored=flipped)
    np.testing.assert_allclose(found.distances, np.sort(both, axis=1))


def test_a_block_of_distances_is_at_most_64_mib() -> None:
    x, y = np.zeros((2000, 1)), np.zeros((9000, 1))
    sizes = [block.nbytes for _, block in neighbours.blocks(x, y)]
    assert max(sizes) <= 64 * 2**20
    assert sum(sizes) == 2000 * 9000 * 8


@pytest.mark.parametrize(
    ("real", "synthetic", "k", "message"),
    [
        (np.ones((5, 2)), np.ones((9, 2)), 5, "k = 5 of 5 real and 9 synthetic"),
        (np.ones((5, 2)), np.ones((9, 2)), 0, "k = 0"),
        (np.ones((5, 2)), np.ones((9, 3)), 1, "synthetic has 3 features, real has 2"),
    ],
    ids=["k-large", "k-zero", "width"],
)
def test_wrong_input_is_told_in_one_line(
    real: np.ndarray, synthetic: np.ndarray, k: int, message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        coverage(real, synthetic, k=k)
