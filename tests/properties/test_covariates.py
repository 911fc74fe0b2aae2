"""What holds for any schema and any row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm.covariates import Covariate, CovariateSchema, fit_schema

numbers = st.floats(-1e7, 1e7, allow_nan=False)


@st.composite
def schemas(draw: st.DrawFn) -> CovariateSchema:
    """One to five covariates of any kind."""
    covariates = []
    for k in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            low = draw(numbers)
            covariates.append(
                Covariate(name=f"c{k}", minimum=low, maximum=low + draw(st.floats(1e-3, 1e7)))
            )
        else:
            levels = tuple(f"level {i}" for i in range(draw(st.integers(2, 5))))
            covariates.append(Covariate(name=f"c{k}", kind="categorical", levels=levels))
    return CovariateSchema(tuple(covariates))


def rows(schema: CovariateSchema) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            c.name: numbers if c.is_continuous else st.sampled_from(c.levels)
            for c in schema.covariates
        }
    )


@given(st.data())
def test_scaling_and_unscaling_give_the_row_back(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    row = data.draw(rows(schema))
    for covariate in schema.covariates:
        value = row[covariate.name]
        back = covariate.unscale(covariate.scale(value))
        if covariate.is_continuous:
            assert back == pytest.approx(value, rel=1e-6, abs=1e-6)
        else:
            assert back == value
    assert schema.scale(row).shape == (len(schema),)


@given(st.data())
def test_extrapolated_means_scaled_beyond_0_and_1(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    row = data.draw(rows(schema))
    scaled = [schema[name].scale(value) for name, value in row.items()]
    assert schema.is_extrapolated(row) == any(not 0 <= x <= 1 for x in scaled)


@given(schemas(), schemas())
def test_equal_schemas_and_only_they_have_equal_fingerprints(
    one: CovariateSchema, other: CovariateSchema
) -> None:
    assert CovariateSchema.from_json(one.to_json()) == one
    assert (one.fingerprint == other.fingerprint) == (one == other)


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=20))
def test_a_fitted_range_holds_every_value_and_is_little_wider(values: list[float]) -> None:
    if max(values) - min(values) < 1e-6 * (1 + max(map(abs, values))):
        return
    template = CovariateSchema((Covariate(name="x"),))
    fitted = fit_schema(template, {"x": np.array(values)})["x"]
    assert fitted.minimum <= min(values)
    assert max(values) <= fitted.maximum
    assert fitted.maximum - fitted.minimum <= 1.11 * (max(values) - min(values))
