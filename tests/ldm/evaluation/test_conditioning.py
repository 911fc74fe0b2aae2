"""Measured against asked, and regional volumes and covariates against the cohort's."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from ldm.errors import LdmError
from ldm.evaluation.conditioning import agreement, relation
from ldm.evaluation.margins import margins, rank_correlations
from ldm.evaluation.morphometry import (
    age_and_sex,
    morphometry,
    residuals,
    wasserstein,
)


def people(rng: np.random.Generator, n: int) -> np.ndarray:
    return age_and_sex(rng.uniform(44, 82, n), rng.choice(["F", "M"], n).tolist())


def volumes(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Ventricles in mm3 that grow with age, larger in men, with a residual sd of 5,000."""
    return 500 * x[:, 0] + 4000 * x[:, 1] + 5000 * rng.standard_normal(len(x))


def test_a_relation_tells_correlation_slope_and_bias() -> None:
    rng = np.random.default_rng(0)
    asked = rng.uniform(10_000, 60_000, 300)
    measured = 0.8 * asked + 2000 + 3000 * rng.standard_normal(300)
    found = relation(asked, measured)
    wanted = stats.linregress(asked, measured)
    assert found.r.value == pytest.approx(wanted.rvalue)
    assert found.slope.value == pytest.approx(wanted.slope)
    assert found.intercept.value == pytest.approx(wanted.intercept)
    assert found.bias.value == pytest.approx(float((measured - asked).mean()))
    assert found.slope.low < 0.8 < found.slope.high < 1
    assert found.intercept.low < 2000 < found.intercept.high
    assert found.n == 300
    assert json.loads(json.dumps(found.to_json()))["slope"]["n"] == 300


def test_a_model_that_always_gives_the_same_has_no_correlation_to_tell() -> None:
    found = relation([1, 2, 3, 4, 5], np.full(5, 2.0))
    assert np.isnan(found.r.value)
    assert found.slope.value == 0
    assert found.to_json()["r"]["value"] is None


def test_two_levels_are_told_by_accuracy_and_area() -> None:
    asked = ["M"] * 30 + ["F"] * 10
    scores = np.array([0.9] * 27 + [0.2] * 3 + [0.1] * 5 + [0.8] * 5)
    found = agreement(asked, scores, positive="M")
    assert found.accuracy.value == pytest.approx(32 / 40)
    assert found.balanced_accuracy.value == pytest.approx((27 / 30 + 5 / 10) / 2)
    pairs = [(m > f) + 0.5 * (m == f) for m in scores[:30] for f in scores[30:]]
    assert found.auc.value == pytest.approx(np.mean(pairs))
    assert found.balanced_accuracy.low < found.balanced_accuracy.value < found.accuracy.high


def test_residuals_are_of_the_real_subjects_model_and_in_their_spread() -> None:
    rng = np.random.default_rng(1)
    x, z = people(rng, 200), people(rng, 300)
    v, w = volumes(rng, x)[:, None], volumes(rng, z)[:, None]
    mine, theirs = (found[:, 0] for found in residuals(v, w + 5000, x, z))
    assert np.corrcoef(mine, x[:, 0])[0, 1] == pytest.approx(0, abs=1e-9)
    assert mine.std(ddof=3) == pytest.approx(1)
    assert theirs.mean() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("n", "m"), [(4, 6), (7, 7), (5, 1), (148, 300)])
def test_the_wasserstein_distance_is_scipys(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 3)).round(1), rng.normal(1, 2, size=(m, 3))
    expected = [stats.wasserstein_distance(x[:, k], y[:, k]) for k in range(3)]
    np.testing.assert_allclose(wasserstein(x, y), expected, atol=1e-12)


def test_a_shift_by_one_standard_deviation_is_a_distance_of_one() -> None:
    rng = np.random.default_rng(2)
    x, z = people(rng, 160), people(rng, 400)
    z[:, 0] += 5  # an older release is no distance
    real = {"same": volumes(rng, x), "larger": volumes(rng, x), "duller": volumes(rng, x)}
    fake = {"same": volumes(rng, z), "larger": volumes(rng, z) + 5000}
    fake["duller"] = volumes(rng, z) * 0.5 + 0.5 * (500 * z[:, 0] + 4000 * z[:, 1])
    found = morphometry(real, fake, real_covariates=x, synthetic_covariates=z, draws=150, splits=60)
    assert found["larger"].distance.low < 1 < found["larger"].distance.high
    assert found["larger"].shift.low < 1 < found["larger"].shift.high
    assert found["larger"].beyond_chance
    assert not found["same"].beyond_chance
    assert found["same"].distance.value < found["same"].split_half.high
    assert found["duller"].spread.low < 0.5 < found["duller"].spread.high
    assert found["same"].split_half.n == 80
    json.dumps({name: region.to_json() for name, region in found.items()})


def test_equal_margins_are_not_told_apart_and_unequal_ones_are() -> None:
    rng = np.random.default_rng(3)
    cohort = {"age": rng.normal(60, 8, 200), "sex": np.array(["F", "M"] * 100)}
    release = {"age": rng.normal(60, 8, 500), "sex": ["F", "M"] * 250}
    same = margins(release, cohort)
    assert same["age"].p > 0.05
    assert same["age"].ks is not None
    assert same["age"].ks.value == pytest.approx(
        stats.ks_2samp(cohort["age"], release["age"]).statistic
    )
    assert same["sex"].difference.value == 0
    older = margins({"age": release["age"] + 8, "sex": ["M"] * 400 + ["F"] * 100}, cohort)
    assert older["age"].difference.low < 1 < older["age"].difference.high
    assert older["age"].p < 1e-6
    assert older["sex"].difference.value == pytest.approx(0.3)
    assert (older["sex"].ks, older["sex"].p < 1e-6) == (None, True)


def test_covariates_drawn_independently_lose_their_tie() -> None:
    rng = np.random.default_rng(4)
    x = people(rng, 300)
    sex = np.where(x[:, 1] == 1, "M", "F")
    cohort = {"age": x[:, 0], "ventricles": volumes(rng, x), "sex": sex}
    kept = {name: column[:150] for name, column in cohort.items()}
    lost = {**cohort, "ventricles": rng.permutation(cohort["ventricles"])}
    (age, *_) = rank_correlations(kept, cohort)
    assert (age.first, age.second) == ("age", "ventricles")
    assert age.cohort.value == pytest.approx(
        stats.spearmanr(cohort["age"], cohort["ventricles"]).statistic
    )
    assert age.difference.low < 0 < age.difference.high
    (age, *rest) = rank_correlations(lost, cohort)
    assert age.difference.high < -0.4
    assert {(tie.first, tie.second) for tie in rest} == {("age", "sex"), ("ventricles", "sex")}


FEW = {"real_covariates": np.ones((25, 2)), "synthetic_covariates": np.ones((9, 2))}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relation([1, 1, 1, 1], [1, 2, 3, 4]), "all 4 values are 1"),
        (lambda: relation([1, 2, 3], [1, 2, 3]), "asked: found 3, expected at least 4"),
        (lambda: relation([1, 2, 3, 4], [1, 2, 3, 4, 5]), "different lengths: asked 4, measured 5"),
        (lambda: agreement(["F"] * 5, [0.5] * 5, positive="F"), "asked levels F: expected two"),
        (lambda: agreement(["F", "M"] * 2, [2] * 4, positive="F"), "expected probabilities"),
        (lambda: age_and_sex([50], ["male"]), "sex male: expected F or M"),
        (lambda: morphometry({"a": [1]}, {"b": [1]}, **FEW), "regions a, b: expected the same"),
        (lambda: morphometry({"a": np.ones(25)}, {"a": np.ones(9)}, **FEW), "every subject has 1"),
        (lambda: morphometry({"a": np.ones(24)}, {"a": np.ones(9)}, **FEW), "different lengths"),
        (lambda: margins({"age": [1, 2, 3, 4]}, {}), "covariates age: in only one"),
        (lambda: margins({"a": [1, 2, 3, 4]}, {"a": list("MFMF")}), "numbers in one table"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_input_is_told_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        call()
