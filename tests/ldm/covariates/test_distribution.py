"""The covariate distribution: a cohort's margins and ties come back, and no subject's row is in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from ldm.covariates import PAPER_SCHEMA, Covariate, CovariateSchema, fit_schema
from ldm.covariates.distribution import CohortDistribution
from ldm.errors import LdmError
from tests.ldm.cohorts import heavy_tailed_cohort, real_cohort

CONTINUOUS = ["age", "ventricular_volume", "brain_volume"]


@pytest.fixture(scope="module", params=["real", "heavy-tailed"])
def cohort(request: pytest.FixtureRequest) -> pd.DataFrame:
    return real_cohort() if request.param == "real" else heavy_tailed_cohort()


@pytest.fixture(scope="module")
def distribution(cohort: pd.DataFrame) -> CohortDistribution:
    return CohortDistribution.fit(fit_schema(PAPER_SCHEMA, cohort), cohort)


@pytest.fixture(scope="module")
def sampled(distribution: CohortDistribution) -> pd.DataFrame:
    return draw(distribution, 6000)


def draw(
    distribution: CohortDistribution, n: int, fixed: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """n rows, row i a function of (1, i) alone."""
    rows = [distribution.sample(np.random.default_rng((1, i)), fixed) for i in range(n)]
    return pd.DataFrame(rows)


def test_sampled_margins_are_the_cohorts(cohort: pd.DataFrame, sampled: pd.DataFrame) -> None:
    for name in CONTINUOUS:
        test = ks_2samp(sampled[name], cohort[name])
        assert test.statistic < 0.05
        assert test.pvalue > 0.5
    assert (sampled["sex"] == "M").mean() == pytest.approx((cohort["sex"] == "M").mean(), abs=0.02)


def test_sampled_margins_are_the_cohorts_within_each_sex(
    cohort: pd.DataFrame, sampled: pd.DataFrame
) -> None:
    for sex in "FM":
        for name in CONTINUOUS:
            asked = cohort.loc[cohort["sex"] == sex, name]
            assert ks_2samp(sampled.loc[sampled["sex"] == sex, name], asked).pvalue > 0.5


def test_rank_correlations_are_the_cohorts(cohort: pd.DataFrame, sampled: pd.DataFrame) -> None:
    def ties(table: pd.DataFrame) -> np.ndarray:
        return table[CONTINUOUS].corr("spearman").to_numpy()

    assert np.abs(ties(sampled) - ties(cohort)).max() < 0.05
    for sex in "FM":
        within = ties(sampled[sampled["sex"] == sex]) - ties(cohort[cohort["sex"] == sex])
        assert np.abs(within).max() < 0.05


def test_what_is_sampled_stays_within_the_cohorts_range(
    cohort: pd.DataFrame, sampled: pd.DataFrame
) -> None:
    for name in CONTINUOUS:
        assert cohort[name].min() <= sampled[name].min()
        assert sampled[name].max() <= cohort[name].max()


def test_no_value_that_is_kept_is_a_subjects(
    cohort: pd.DataFrame, distribution: CohortDistribution
) -> None:
    for stratum in distribution.strata:
        for name, margin in zip(CONTINUOUS, stratum.margins, strict=True):
            assert not set(margin.knots) & set(cohort[name])
            assert len(margin.knots) <= max(33, len(cohort) // 4)


def test_it_survives_json_and_samples_the_same(distribution: CohortDistribution) -> None:
    again = CohortDistribution.from_json(json.loads(json.dumps(distribution.to_json())))
    assert again == distribution
    assert draw(again, 5).equals(draw(distribution, 5))


def test_older_subjects_have_larger_ventricles_and_smaller_brains(
    distribution: CohortDistribution,
) -> None:
    young, old = (draw(distribution, 300, {"age": age}) for age in (50, 78))
    assert (young["age"] == 50).all()
    assert old["ventricular_volume"].median() > 1.3 * young["ventricular_volume"].median()
    assert old["brain_volume"].median() < young["brain_volume"].median()


def test_a_value_beyond_the_cohort_is_kept_and_counts_as_its_extreme(
    distribution: CohortDistribution,
) -> None:
    far = draw(distribution, 200, {"ventricular_volume": 9e9})
    plain = draw(distribution, 200)
    assert (far["ventricular_volume"] == 9e9).all()
    assert far["age"].mean() > plain["age"].mean()
    assert far["brain_volume"].between(1e5, 3e6).all()


def test_levels_are_drawn_by_bayes_from_the_continuous_ones() -> None:
    rng = np.random.default_rng(3)
    sex = np.array(["F", "M"] * 200)
    height = np.where(sex == "M", 178, 165) + rng.normal(0, 6, 400)
    schema = CovariateSchema((PAPER_SCHEMA["sex"], Covariate(name="height", maximum=250)))
    distribution = CohortDistribution.fit(schema, {"sex": sex, "height": height})
    men = {
        x: (draw(distribution, 400, {"height": x})["sex"] == "M").mean() for x in (155, 171.5, 190)
    }
    exact = 1 / (1 + np.exp((165**2 - 178**2 + 2 * 171.5 * 13) / (2 * 36)))
    assert men[155] < 0.1
    assert men[190] > 0.9
    assert men[171.5] == pytest.approx(exact, abs=0.12)


def test_the_rest_of_the_noise_does_not_depend_on_what_is_fixed(
    distribution: CohortDistribution,
) -> None:
    states = []
    for fixed in ({}, {"age": 70}, {"age": 70, "sex": "F"}):
        rng = np.random.default_rng(9)
        distribution.sample(rng, fixed)
        states.append(rng.bit_generator.state)
    assert states[0] == states[1] == states[2]


def test_everything_fixed_comes_back_as_it_is(distribution: CohortDistribution) -> None:
    row = {"sex": "M", "age": 99.5, "ventricular_volume": -3.0, "brain_volume": 1.0}
    assert distribution.sample(np.random.default_rng(0), row) == row


def test_a_level_that_the_cohort_lacks_can_still_be_asked_for() -> None:
    table = heavy_tailed_cohort().assign(sex="F")
    distribution = CohortDistribution.fit(PAPER_SCHEMA, table)
    assert set(draw(distribution, 50)["sex"]) == {"F"}
    men = draw(distribution, 50, {"sex": "M"})
    assert set(men["sex"]) == {"M"}
    assert men["age"].between(44, 82).all()


def test_a_cohort_without_categorical_or_without_continuous_covariates_works() -> None:
    table = heavy_tailed_cohort()
    ages = CohortDistribution.fit(CovariateSchema((PAPER_SCHEMA["age"],)), table)
    assert draw(ages, 20)["age"].between(44, 82).all()
    sexes = CohortDistribution.fit(CovariateSchema((PAPER_SCHEMA["sex"],)), table)
    assert set(draw(sexes, 20)["sex"]) == {"F", "M"}


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"sex": ["F"] * 9, "age": [50.0] * 8}, "columns of different lengths"),
        ({"sex": ["F"] * 4, "age": [50.0] * 4}, "a cohort of 4 subjects: expected at least 8"),
        ({"sex": ["F"] * 9}, "column 'age' missing"),
        ({"sex": ["F"] * 8 + ["?"], "age": [50.0] * 9}, "row 8 of the cohort's table: sex is"),
    ],
)
def test_a_bad_cohort_is_told_in_one_line(columns: dict[str, Any], told: str) -> None:
    schema = CovariateSchema((PAPER_SCHEMA["sex"], PAPER_SCHEMA["age"]))
    with pytest.raises(LdmError, match=told.replace("?", r"\?")):
        CohortDistribution.fit(schema, columns)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(format_version=9), "reads format 1"),
        (lambda d: d.pop("strata"), "unreadable"),
        (lambda d: d["strata"].pop(), "do not fit its schema"),
        (lambda d: d["strata"][0]["margins"].pop(), "do not fit its schema"),
        (lambda d: d["strata"][0]["margins"][0]["knots"].reverse(), "knots of a margin decrease"),
        (lambda d: d["strata"][0]["margins"][0].update(end=0.7), "has no range"),
        (lambda d: d["strata"][0].update(rank_correlations=[[2] * 3] * 3), "beyond -1..1"),
    ],
)
def test_a_broken_file_is_told_in_one_line(change: Any, told: str) -> None:
    document = CohortDistribution.fit(PAPER_SCHEMA, heavy_tailed_cohort()).to_json()
    change(document)
    with pytest.raises(LdmError, match=told):
        CohortDistribution.from_json(document)
