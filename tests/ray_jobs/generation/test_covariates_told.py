"""What `generate` says of the covariates it is asked for, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from ldm.covariates import PAPER_SCHEMA
from ldm.covariates.distribution import CohortDistribution
from ldm.errors import LdmError
from ray_jobs.errors import JobError
from ray_jobs.generation.covariates import CovariateSource, covariate_source
from tests.ldm.cohorts import heavy_tailed_cohort


@pytest.fixture(scope="module")
def distribution() -> CohortDistribution:
    return CohortDistribution.fit(PAPER_SCHEMA, heavy_tailed_cohort())


def source(distribution: CohortDistribution, option: str, *fix: str, n: int = 2) -> CovariateSource:
    return covariate_source(option, fix, n=n, schema=PAPER_SCHEMA, distribution=distribution)


def test_the_run_says_which_columns_it_uses_and_what_it_draws(
    distribution: CohortDistribution, tmp_path: Path
) -> None:
    (tmp_path / "asked.csv").write_text("Age, sex\n61.5, F\n95, M\n")
    found = source(distribution, str(tmp_path / "asked.csv"), "brain_volume=1400000")
    assert found.told(2) == [
        "covariates from asked.csv: sex, age; drawn given those: ventricular_volume",
        "beyond what the model was trained on: age 95, of 44 to 82 year (row 1); such volumes are "
        "marked extrapolated",
    ]
    assert found.draw(0, 1)["age"] == 95
    assert len(found.told(1)) == 1  # the first sample alone lies within


def test_a_fixed_value_takes_the_place_of_a_column_and_says_so(
    distribution: CohortDistribution, tmp_path: Path
) -> None:
    (tmp_path / "asked.csv").write_text("age,sex\n61.5,F\n62,M\n")
    found = source(distribution, str(tmp_path / "asked.csv"), "age=70")
    assert "--fix is taken for age, not asked.csv" in found.told(2)
    assert found.draw(0, 0)["age"] == 70


def test_a_fixed_value_beyond_the_cohort_is_told_and_one_within_it_is_not(
    distribution: CohortDistribution,
) -> None:
    (line,) = source(distribution, "cohort", "age=95").told(2)
    assert line.startswith("beyond what the model was trained on: age 95, of 44 to 82 year; ")
    assert source(distribution, "cohort", "age=70").told(2) == []
    assert source(distribution, "uniform").told(2) == []


@pytest.mark.parametrize(
    ("fix", "line"),
    [
        ("age=700", "--fix: age is 700: expected 0.01 to 120 year; in month it would be 58.3333; "),
        ("age=0", "--fix: age is 0: expected 0.01 to 120 year; "),
        ("age=-5", "--fix: age is -5: expected 0.01 to 120 year; the model knows 44 to 82"),
        ("ventricular_volume=40", "in cm3 it would be 40000; the model knows 6995.68 to 171375"),
    ],
)
def test_a_fixed_value_that_no_person_has_is_refused_with_the_range(
    distribution: CohortDistribution, fix: str, line: str
) -> None:
    with pytest.raises(JobError) as caught:
        source(distribution, "cohort", fix)
    assert line in str(caught.value)


def test_a_covariate_of_another_case_is_named(distribution: CohortDistribution) -> None:
    with pytest.raises(LdmError, match=r"unknown covariate 'AGE': did you mean age\?"):
        source(distribution, "cohort", "AGE=70")
