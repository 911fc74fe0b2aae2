"""Strata: whose values a small one takes, and how many there are at most."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ldm.covariates import PAPER_SCHEMA, Covariate, CovariateSchema
from ldm.covariates.distribution import CohortDistribution
from ldm.covariates.strata import MOST_STRATA, SMALLEST_STRATUM, Pooling, scarce, told_share
from ldm.errors import LdmError

DX = Covariate(name="dx", kind="categorical", levels=("CN", "AD"))
SITE = Covariate(name="site", kind="categorical", levels=("a", "b", "c"))
SCHEMA = CovariateSchema((PAPER_SCHEMA["sex"], DX, SITE, PAPER_SCHEMA["ventricular_volume"]))


def cohort(patients: int = 30, n: int = 300) -> dict[str, np.ndarray]:
    """Few patients, whose ventricles are twice those of the others; sex and site hardly matter."""
    rng = np.random.default_rng(4)
    dx = np.where(np.arange(n) < patients, "AD", "CN").astype(object)
    sex = np.array(["F", "M"] * (n // 2), dtype=object)
    middle = np.where(dx == "AD", 61_742, 29_973) * np.where(sex == "M", 1.05, 1.0)
    return {
        "sex": sex,
        "dx": dx,
        "site": np.array(["a", "b", "c"] * (n // 3), dtype=object),
        "ventricular_volume": middle * np.exp(0.2 * rng.standard_normal(n)),
    }


def drawn(distribution: CohortDistribution, fixed: Mapping[str, object], n: int = 300) -> Any:
    rows = [distribution.sample(np.random.default_rng((2, i)), fixed) for i in range(n)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("fixed", [{}, {"sex": "F"}, {"sex": "M", "site": "b"}])
def test_few_patients_of_a_sex_are_drawn_as_patients_not_as_the_whole_cohort(
    fixed: dict[str, str],
) -> None:
    table = cohort()
    distribution = CohortDistribution.fit(SCHEMA, table)
    found = drawn(distribution, {"dx": "AD", **fixed})
    patients = np.median(table["ventricular_volume"][table["dx"] == "AD"])
    assert np.median(found["ventricular_volume"]) == pytest.approx(patients, rel=0.1)


def test_the_factor_that_tells_least_is_let_go_first() -> None:
    pooling = Pooling(SCHEMA, cohort())
    kept, who = pooling.pool(("F", "AD", "a"))
    assert kept == (("dx", "AD"),)
    assert who.sum() == 30
    kept, who = pooling.pool(("F", "CN", "a"))
    assert dict(kept) == {"sex": "F", "dx": "CN", "site": "a"}
    assert who.sum() >= SMALLEST_STRATUM


def test_a_level_of_too_few_people_is_let_go_and_the_others_kept() -> None:
    table = cohort(patients=12)
    kept, who = Pooling(SCHEMA, table).pool(("F", "AD", "a"))
    assert dict(kept) == {"sex": "F", "site": "a"}
    assert who.sum() == 50
    assert scarce(SCHEMA, table) == ["dx AD (12 people)"]


def test_every_stratum_takes_the_values_of_enough_people() -> None:
    pooling = Pooling(SCHEMA, cohort(n=42))
    for stratum in CohortDistribution.fit(SCHEMA, cohort(n=42)).strata:
        assert pooling.pool(stratum.levels)[1].sum() >= SMALLEST_STRATUM


def test_how_much_groups_tell_is_none_by_chance_and_all_where_they_say_everything() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(list("abcdefghij"), 30)
    by_chance = [told_share(groups, [rng.standard_normal(300)]) for _ in range(50)]
    assert abs(np.mean(by_chance)) < 0.02
    assert told_share(groups, [np.repeat(np.arange(10.0), 30)]) == pytest.approx(1)
    assert told_share(np.array(["a"] * 9), [np.arange(9.0)]) == 0


BINARY = tuple(Covariate(name=f"b{k}", kind="categorical", levels=("no", "yes")) for k in range(14))


@pytest.fixture(scope="module")
def many() -> tuple[CohortDistribution, dict[str, np.ndarray], float]:
    """Fourteen binary covariates, of which the last tells most."""
    rng = np.random.default_rng(7)
    table = {b.name: np.where(rng.random(600) < 0.3, "yes", "no").astype(object) for b in BINARY}
    table["age"] = rng.uniform(50, 80, 600) + 10 * (table["b13"] == "yes")
    started = time.monotonic()
    found = CohortDistribution.fit(CovariateSchema((*BINARY, PAPER_SCHEMA["age"])), table)
    return found, table, time.monotonic() - started


def test_fourteen_binary_covariates_make_few_strata_in_seconds(many: Any) -> None:
    distribution, _, seconds = many
    assert len(distribution.strata) == MOST_STRATA
    assert "b13" in distribution.factors
    assert len(distribution.minors) == 6
    assert seconds < 30  # 16,384 strata took 115 s


def test_covariates_that_are_no_factors_are_drawn_by_their_shares(many: Any) -> None:
    distribution, table, _ = many
    found = drawn(distribution, {"b13": "yes"})
    for name in distribution.minors:
        share = (table[name] == "yes").mean()
        assert (found[name] == "yes").mean() == pytest.approx(share, abs=0.08)
    assert np.median(found["age"]) == pytest.approx(
        np.median(table["age"][table["b13"] == "yes"]), abs=2
    )
    asked = dict.fromkeys(distribution.minors, "yes")
    assert all((drawn(distribution, asked, 20)[name] == "yes").all() for name in asked)


def test_a_distribution_with_such_covariates_survives_its_file(many: Any) -> None:
    distribution = many[0]
    document = json.loads(json.dumps(distribution.to_json()))
    again = CohortDistribution.from_json(document)
    assert again == distribution
    assert document["format_version"] == 2
    assert CohortDistribution.fit(SCHEMA, cohort()).to_json()["format_version"] == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(minors=["b0", "nobody"]), "minors do not fit"),
        (lambda d: d.update(minors=[]), "minors do not fit"),
        (lambda d: d["strata"][0]["shares"].pop(), "shares of levels do not fit"),
        (lambda d: d["strata"][0].update(shares=[[0, 0]] * 6), "the shares of some levels"),
        (lambda d: d["strata"][0].pop("shares"), "unreadable"),
    ],
)
def test_a_broken_file_of_one_is_told_in_one_line(many: Any, change: Any, told: str) -> None:
    document = json.loads(json.dumps(many[0].to_json()))
    change(document)
    with pytest.raises(LdmError, match=told):
        CohortDistribution.from_json(document)
