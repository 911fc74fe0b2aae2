"""Whose brain a sample is: covariates by seed and index, held ones, and rows of a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ldm.covariates import PAPER_SCHEMA
from ldm.covariates.distribution import CohortDistribution
from ldm.errors import LdmError
from ray_jobs.errors import JobError
from ray_jobs.generation.covariates import CovariateSource, covariate_source


@pytest.fixture(scope="module")
def distribution() -> CohortDistribution:
    rng = np.random.default_rng(0)
    age = rng.uniform(45, 80, 200)
    columns = {
        "sex": rng.choice(["F", "M"], 200),
        "age": age,
        "ventricular_volume": 10_000 + 800 * (age - 45) + rng.normal(0, 2_000, 200),
        "brain_volume": 1_600_000 - 3_000 * age + rng.normal(0, 40_000, 200),
    }
    return CohortDistribution.fit(PAPER_SCHEMA, columns)


def source(
    distribution: CohortDistribution, option: str = "cohort", *fix: str, n: int = 4
) -> CovariateSource:
    return covariate_source(option, fix, n=n, schema=PAPER_SCHEMA, distribution=distribution)


@pytest.mark.parametrize("option", ["cohort", "uniform"])
def test_covariates_are_a_function_of_seed_and_index_alone(
    distribution: CohortDistribution, option: str
) -> None:
    here = source(distribution, option)
    forwards = [here.draw(3, index) for index in range(6)]
    assert [here.draw(3, index) for index in reversed(range(6))] == forwards[::-1]
    assert len({row["age"] for row in forwards}) == 6
    assert here.draw(4, 0) != forwards[0]


def test_a_fixed_covariate_is_held_and_the_others_still_vary(
    distribution: CohortDistribution,
) -> None:
    rows = [source(distribution, "cohort", "age=70", "sex=F").draw(0, i) for i in range(8)]
    assert {(row["age"], row["sex"]) for row in rows} == {(70.0, "F")}
    assert len({row["brain_volume"] for row in rows}) == 8


def test_a_table_gives_its_rows_and_the_rest_is_drawn(
    distribution: CohortDistribution, tmp_path: Path
) -> None:
    table = tmp_path / "asked.csv"
    table.write_text("age,sex\n61,F\n72.5,M\n")
    here = source(distribution, str(table), n=2)
    rows = [here.draw(0, index) for index in range(4)]
    assert [(row["age"], row["sex"]) for row in rows] == [
        (61.0, "F"),
        (72.5, "M"),
        (72.5, "M"),  # past its end, where a full batch is made and dropped
        (72.5, "M"),
    ]
    assert set(rows[0]) == set(PAPER_SCHEMA.names)


def test_the_identity_of_a_table_is_its_content_not_its_name(
    distribution: CohortDistribution, tmp_path: Path
) -> None:
    texts = {"a.csv": "age\n60\n70\n", "b.csv": "age\n60\n70\n", "c.csv": "age\n60\n71\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    a, b, c = (source(distribution, str(tmp_path / name), n=1).identity for name in texts)
    assert a == b != c
    assert source(distribution, "uniform").identity == "uniform"


def test_more_samples_than_a_table_has_rows_are_refused(
    distribution: CohortDistribution, tmp_path: Path
) -> None:
    table = tmp_path / "asked.tsv"
    table.write_text("age\tsex\n61\tF\n")
    with pytest.raises(JobError, match="has 1 rows, one for each sample; give --n 1"):
        source(distribution, str(table), n=2)


def test_an_unknown_source_or_fix_is_refused(distribution: CohortDistribution) -> None:
    with pytest.raises(JobError, match="--covariates kohort: expected cohort, uniform"):
        source(distribution, "kohort")
    with pytest.raises(LdmError, match="did you mean age"):
        source(distribution, "cohort", "agee=70")
    with pytest.raises(LdmError, match="age is 'old'"):
        source(distribution, "cohort", "age=old")
