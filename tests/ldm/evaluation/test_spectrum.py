"""Sharpness of a set against people: ratios that are put in come out, with honest intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from ldm.errors import LdmError
from ldm.evaluation.spectrum import as_row, sharpness, tame
from ldm.evaluation.statistics import welch
from ldm.volumes.spectrum import BANDS, Spectrum

B = len(BANDS)
RATIOS = np.array([1.1, 1.05, 1.0, 0.75, 0.33, 0.15, 0.07, 0.05])


def rows(count: int, seed: int, ratio: np.ndarray | float = 1.0, more: float = 0.0) -> np.ndarray:
    """Rows of people whose power differs by 10 %, and kurtosis by 0.2."""
    rng = np.random.default_rng(seed)
    power = np.log(np.geomspace(1, 0.05, B) * ratio) + rng.normal(0, 0.1, (count, B))
    return np.hstack([power, 0.6 + more + rng.normal(0, 0.2, (count, B))])


def test_a_row_has_logarithms_of_power_and_kurtoses() -> None:
    found = as_row(Spectrum(power=np.exp(np.arange(B)), kurtosis=np.full(B, 0.5)))
    assert found.tolist() == pytest.approx([*range(B), *[0.5] * B])
    tamed = tame(np.stack([found, found]))
    assert tamed[0].tolist() == pytest.approx([*range(B), *[np.log(3.5)] * B])


def test_the_ratio_of_power_and_the_difference_of_kurtosis_come_out() -> None:
    found = sharpness(rows(400, 0, RATIOS, more=-0.3), rows(300, 1))
    assert [one.value for one in found.power] == pytest.approx(RATIOS, rel=0.03)
    assert [one.value for one in found.difference] == pytest.approx([-0.3] * B, abs=0.06)
    assert [one.value for one in found.kurtosis] == pytest.approx([0.3] * B, abs=0.04)
    assert {(one.n, one.n_reference) for one in found.power} == {(400, 300)}
    assert {one.n for one in found.kurtosis} == {400}
    document = found.to_json()
    assert set(document) == {"power", "kurtosis", "difference"}
    assert document["power"][4]["value"] == pytest.approx(0.33, rel=0.03)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = np.zeros((2, B))
    for seed in range(60):
        found = sharpness(rows(30, 2 * seed, RATIOS, more=-0.3), rows(12, 2 * seed + 1))
        held[0] += [e.low < r < e.high for e, r in zip(found.power, RATIOS, strict=True)]
        held[1] += [e.low < -0.3 < e.high for e in found.difference]
    assert (held.mean(axis=1) / 60 > 0.92).all(), held / 60
    assert (held.mean(axis=1) / 60 < 0.985).all(), held / 60


def test_the_difference_of_means_has_welchs_interval() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 3, 20), rng.normal(0, 1, 9)
    found = welch.difference(x, y)
    wanted = ttest_ind(x, y, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    equal = welch.difference(np.ones(4), np.ones(5))
    assert (equal.value, equal.low, equal.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("volumes", "people", "told"),
    [
        (np.ones((1, 2 * B)), np.ones((9, 2 * B)), "volumes: found 1, expected at least 2"),
        (np.ones((9, 2 * B)), np.ones((9, B)), f"people of {B} figures: expected {2 * B}"),
        (np.full((9, 2 * B), np.nan), np.ones((9, 2 * B)), "volumes: 9 of 9 rows not finite"),
    ],
    ids=["few", "width", "nan"],
)
def test_wrong_rows_are_told_in_one_line(
    volumes: np.ndarray, people: np.ndarray, told: str
) -> None:
    with pytest.raises(LdmError, match=told):
        sharpness(volumes, people)
