"""Fréchet and kernel distances of Gaussians are what mathematics says, at any n."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from ldm.errors import LdmError
from ldm.evaluation.distances import frechet_distance, kernel_distance

RNG = np.random.default_rng


def frechet_of(mx: np.ndarray, my: np.ndarray, cx: np.ndarray, cy: np.ndarray) -> float:
    """Heusel et al. 2017, eq. 6, as it stands there."""
    root = sqrtm(cx @ cy)
    return float(((mx - my) ** 2).sum() + np.trace(cx + cy - 2 * np.real(root)))


def test_the_frechet_distance_of_large_samples_is_that_of_their_gaussians() -> None:
    rng = RNG(0)
    a, b = (rng.standard_normal((6, 6)) for _ in range(2))
    mean = np.arange(6) / 6
    x = rng.standard_normal((20_000, 6)) @ a
    y = rng.standard_normal((20_000, 6)) @ b + mean
    truth = frechet_of(np.zeros(6), mean, a.T @ a, b.T @ b)
    found = frechet_distance(x, y)
    assert found.estimate.value == pytest.approx(truth, rel=0.03)
    assert found.estimate.low < truth < found.estimate.high
    assert (found.rank, found.rank_reference, found.deficient) == (6, 6, False)


@pytest.mark.parametrize(("n", "m"), [(12, 40), (40, 12), (12, 9)])
def test_with_fewer_volumes_than_features_it_is_still_exact(n: int, m: int) -> None:
    rng = RNG(1)
    x, y = rng.standard_normal((n, 30)) * 2, rng.standard_normal((m, 30)) + 0.3
    cx, cy = np.cov(x.T), np.cov(y.T)
    # the square root of a singular product is taken on the eigenvalues instead
    eigenvalues = np.linalg.eigvals(cx @ cy).real.clip(min=0)
    wanted = (
        ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy) - 2 * np.sqrt(eigenvalues).sum()
    )
    found = frechet_distance(x, y)
    assert found.estimate.value == pytest.approx(wanted, rel=1e-6)
    assert (found.rank, found.rank_reference) == (min(n - 1, 30), min(m - 1, 30))
    assert found.deficient
    assert found.to_json()["rank_deficient"] is True


def test_a_set_is_at_no_distance_from_itself_in_whatever_order() -> None:
    x = RNG(2).standard_normal((50, 80))
    shuffled = x[RNG(3).permutation(50)]
    assert frechet_distance(x, shuffled).estimate.value == pytest.approx(0, abs=1e-9)
    y = RNG(4).standard_normal((40, 80))
    for distance in (
        lambda a, b: frechet_distance(a, b).estimate.value,
        lambda a, b: kernel_distance(a, b).value,
    ):
        assert distance(shuffled, y) == pytest.approx(distance(x, y), rel=1e-9)


def test_the_frechet_distance_is_biased_upwards_at_small_n_and_the_kernel_distance_is_not() -> None:
    rng = RNG(5)
    frechet, kernel = [], []
    for _ in range(200):
        x, y = rng.standard_normal((24, 16)), rng.standard_normal((30, 16))
        frechet.append(frechet_distance(x, y, groups=2).estimate.value)
        kernel.append(kernel_distance(x, y, groups=2).value)
    standard_error = np.std(kernel) / np.sqrt(len(kernel))
    assert min(frechet) > 1
    assert abs(np.mean(kernel)) < 3 * standard_error
    assert min(kernel) < 0 < max(kernel)


def test_the_kernel_distance_is_its_u_statistic() -> None:
    rng = RNG(6)
    x, y = rng.standard_normal((9, 4)), rng.standard_normal((7, 4)) + 1
    k = lambda u, v: (u @ v / 4 + 1) ** 3  # noqa: E731
    xx = np.mean([k(x[i], x[j]) for i in range(9) for j in range(9) if i != j])
    yy = np.mean([k(y[i], y[j]) for i in range(7) for j in range(7) if i != j])
    xy = np.mean([k(u, v) for u in x for v in y])
    assert kernel_distance(x, y).value == pytest.approx(xx + yy - 2 * xy)


def kernel_of(mean: np.ndarray) -> float:
    """MMD^2 of N(0, 1) and N(mean, 1): the kernel is 1 + 3 u'v / D + 3 (u'v / D)^2 + (u'v / D)^3,
    so the distance is that of the moments."""
    d, eye = len(mean), np.eye(len(mean))
    second = np.multiply.outer(mean, mean)
    third = np.multiply.outer(second, mean)
    for place in range(3):
        third = third + np.moveaxis(np.multiply.outer(eye, mean), 2, place)
    gaps = [3 * (mean**2).sum() / d, 3 * (second**2).sum() / d**2, (third**2).sum() / d**3]
    return float(sum(gaps))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, mean = RNG(7), np.full(3, 0.5)
    distance = frechet_of(np.zeros(3), mean, np.eye(3), np.eye(3))
    held = np.zeros(3)
    for _ in range(150):
        x, y = rng.standard_normal((400, 3)), rng.standard_normal((300, 3)) + mean
        found = frechet_distance(x, y).estimate
        apart, equal = kernel_distance(x[:100], y[:90]), kernel_distance(x[:100], x[300:])
        held += [
            found.low < distance < found.high,
            apart.low < kernel_of(mean) < apart.high,
            equal.low < 0 < equal.high,
        ]
    assert (held / 150 > 0.88).all(), held / 150


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((3, 4)), np.ones((9, 4)), "x: found 3, expected at least 4"),
        (np.ones(9), np.ones((9, 4)), r"x of shape \(9,\): expected \(N, D\)"),
        (np.ones((9, 4)), np.ones((9, 5)), "y has 5 features, x has 4"),
        (np.ones((9, 4)), np.full((9, 4), np.inf), "y: 9 of 9 rows not finite"),
    ],
    ids=["few", "shape", "width", "infinite"],
)
def test_wrong_features_are_told_in_one_line(distance, x, y, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LdmError, match=message):
        distance(x, y)
