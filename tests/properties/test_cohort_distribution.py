"""What holds for the distribution of any cohort, ties, constants and tiny strata included."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm.covariates import Covariate, CovariateSchema
from ldm.covariates.copula import MarginalDistribution
from ldm.covariates.distribution import CohortDistribution

SCHEMA = CovariateSchema(
    (
        Covariate(name="x", minimum=-100, maximum=100),
        Covariate(name="group", kind="categorical", levels=("a", "b", "c")),
        Covariate(name="y", minimum=-100, maximum=100),
    )
)
values = st.one_of(st.integers(-100, 100).map(float), st.floats(-100, 100))


@st.composite
def cohorts(draw: st.DrawFn) -> dict[str, np.ndarray]:
    n = draw(st.integers(8, 60))
    x = np.array(draw(st.lists(values, min_size=n, max_size=n)))
    tie = draw(st.sampled_from([0.0, 1.0, -1.0]))
    y = np.array(draw(st.lists(values, min_size=n, max_size=n)))
    groups = draw(st.lists(st.sampled_from(["a", "b"]), min_size=n, max_size=n))
    return {"x": x, "group": np.array(groups), "y": tie * x if tie else y}


@settings(max_examples=60, deadline=None)
@given(cohorts(), st.data())
def test_a_sample_keeps_what_is_fixed_and_stays_in_range_otherwise(
    cohort: dict[str, np.ndarray], data: st.DataObject
) -> None:
    distribution = CohortDistribution.fit(SCHEMA, cohort)
    options = {"x": st.floats(-1e6, 1e6), "y": values, "group": st.sampled_from(["a", "b", "c"])}
    fixed = data.draw(st.fixed_dictionaries({}, optional=options))
    row = distribution.sample(np.random.default_rng(data.draw(st.integers(0, 99))), fixed)
    assert list(row) == list(SCHEMA.names)
    assert fixed.items() <= row.items()
    for name in {"x", "y"} - fixed.keys():
        slack = 1e-3 + 1e-4 * np.abs(cohort[name]).max()
        assert cohort[name].min() - slack <= row[name] <= cohort[name].max() + slack
    if "group" not in fixed:
        assert row["group"] in set(cohort["group"])


@settings(max_examples=40, deadline=None)
@given(cohorts())
def test_the_file_gives_the_distribution_back(cohort: dict[str, np.ndarray]) -> None:
    distribution = CohortDistribution.fit(SCHEMA, cohort)
    document = json.dumps(distribution.to_json(), allow_nan=False)
    assert CohortDistribution.from_json(json.loads(document)) == distribution


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=80), st.floats(-2.9, 2.9))
def test_a_margins_score_is_the_inverse_of_its_quantile(sample: list[float], z: float) -> None:
    margin = MarginalDistribution.fit(np.array(sample))
    if np.diff(margin.knots).min() > 1e-9 * (1 + np.abs(margin.knots).max()):
        assert abs(margin.score(margin.quantile(z)) - z) < 1e-3
    assert margin.quantile(z) <= margin.quantile(z + 0.1)
    assert 0 <= margin.cdf(margin.quantile(z)) <= 1
