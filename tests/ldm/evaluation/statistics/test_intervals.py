"""Intervals hold the truth as often as they say, and say what they rest on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ldm.errors import LdmError
from ldm.evaluation.similarity import draw_pairs
from ldm.evaluation.statistics import intervals, ranking
from ldm.evaluation.statistics.intervals import Estimate


def mean(x: np.ndarray) -> float:
    return float(x.mean())


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_a_bootstrap_interval_is_scipys(method: str) -> None:
    values = np.random.default_rng(0).lognormal(size=40)
    ours = intervals.bootstrap(mean, values, method=method, seed=3)  # type: ignore[arg-type]
    scipys = stats.bootstrap(
        (values,), np.mean, method=method, n_resamples=4000, random_state=1
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    width = scipys.high - scipys.low
    assert ours.low == pytest.approx(scipys.low, abs=0.06 * width)
    assert ours.high == pytest.approx(scipys.high, abs=0.06 * width)


def test_the_same_seed_gives_the_same_interval_and_rows_stay_together() -> None:
    x = np.arange(30.0)
    one, again = (intervals.bootstrap(lambda a, b: mean(a - b), x, x + 2) for _ in range(2))
    assert one == again
    assert one == Estimate(value=-2.0, low=-2.0, high=-2.0, n=30)


@pytest.mark.parametrize("r", [0.0, 0.9])
def test_fishers_interval_holds_the_true_correlation_95_times_in_100(r: float) -> None:
    rng = np.random.default_rng(5)
    a = rng.standard_normal((1000, 25))
    b = r * a + np.sqrt(1 - r**2) * rng.standard_normal(a.shape)
    found = [intervals.correlation(float(np.corrcoef(*pair)[0, 1]), 25) for pair in zip(a, b)]  # noqa: B905
    assert 0.93 < np.mean([f.low < r < f.high for f in found]) < 0.97


def test_a_proportions_interval_is_scipys_exact_one() -> None:
    for count, n in ((0, 10), (3, 10), (10, 10)):
        exact = stats.binomtest(count, n).proportion_ci(method="exact")
        found = intervals.proportion(count, n)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("n", [7, 40])
def test_the_medians_interval_is_as_wide_as_it_must_be_and_no_wider(n: int) -> None:
    drawn = np.random.default_rng(n).exponential(size=(1000, n))
    found = [intervals.median(row) for row in drawn]
    held = np.mean([f.low < np.log(2) < f.high for f in found])
    assert 0.935 < held < 0.99
    assert found[0].value == np.median(drawn[0])


def test_pairs_that_share_volumes_get_a_wider_interval_than_independent_ones() -> None:
    own = np.random.default_rng(1).standard_normal(20)  # what a volume brings into all its pairs
    first, second = np.triu_indices(20, 1)
    values = own[first] + own[second]
    honest = intervals.mean_over_pairs(values, first, second)
    naive = intervals.bootstrap(mean, values, draws=500, method="percentile")
    assert honest.value == pytest.approx(2 * own.mean())
    assert honest.n == 20
    assert honest.high - honest.low > 2 * (naive.high - naive.low)


@pytest.mark.parametrize("shared", [0.0, 0.3, 1.0], ids=["pairs", "both", "volumes"])
@pytest.mark.parametrize(("n", "count"), [(20, 190), (60, 150)], ids=["all-pairs", "some-pairs"])
def test_an_interval_over_pairs_holds_the_truth_whatever_makes_them_differ(
    shared: float, n: int, count: int
) -> None:
    rng = np.random.default_rng(8)
    first, second = np.array(draw_pairs(n, count)).T
    held = []
    for _ in range(400):
        own = shared * rng.standard_normal(n)
        noise = (1 - shared) * rng.standard_normal(count)
        found = intervals.mean_over_pairs(own[first] + own[second] + noise, first, second)
        held.append(found.low < 0 < found.high)
    assert 0.91 < np.mean(held) < 0.985


def test_an_auc_is_the_share_of_pairs_in_order_ties_counted_half() -> None:
    assert ranking.auc([2, 3], [1, 2]).value == pytest.approx(3.5 / 4)
    perfect, worst = ranking.auc([3, 4, 5], [1, 2]), ranking.auc([1, 2], [3, 4, 5])
    assert (perfect.value, perfect.high, worst.value, worst.low) == (1, 1, 0, 0)
    assert perfect.low == pytest.approx(1 - worst.high)
    assert 0.3 < perfect.low < 0.7  # five subjects prove little


def test_the_auc_interval_holds_the_true_area_95_times_in_100() -> None:
    rng = np.random.default_rng(2)
    truth = stats.norm.cdf(1.5 / np.sqrt(2))
    found = [ranking.auc(rng.normal(1.5, 1, 30), rng.normal(0, 1, 15)) for _ in range(500)]
    assert 0.92 < np.mean([f.low < truth < f.high for f in found]) < 0.985


def test_an_undefined_figure_is_null_in_json_and_comes_back() -> None:
    figure = Estimate(value=0.00761234567, low=float("nan"), high=1.0, n=8, n_reference=9)
    document = figure.to_json()
    assert document == {"value": 0.00761235, "low": None, "high": 1.0, "n": 8, "n_reference": 9}
    back = Estimate.from_json(document)
    assert back.n_reference == 9
    assert np.isnan(back.low)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: intervals.bootstrap(mean, np.ones(1)), "1 rows: expected at least 2"),
        (lambda: intervals.bootstrap(mean, np.ones(3), np.ones(4)), "different lengths"),
        (lambda: intervals.correlation(0.5, 3), "of at least 4"),
        (lambda: intervals.proportion(3, 2), "share 3 of 2"),
        (lambda: ranking.auc([], [1.0]), "positives: found 0"),
        (lambda: ranking.auc([np.nan], [1.0]), "1 of 1 rows not finite"),
        (lambda: intervals.mean_over_pairs([1, 2], [0, 1], [1]), "different lengths"),
    ],
    ids=["one-row", "lengths", "few-pairs", "share", "empty", "nan", "pairs"],
)
def test_wrong_input_is_told_in_one_line(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LdmError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
