"""Covariates of more than two levels: an input a level in new schemas, one number in old ones."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm.covariates import PAPER_SCHEMA, Covariate, CovariateSchema, fit_schema
from ldm.covariates.calibration import Calibration, Plane, calibrate
from ldm.errors import LdmError

LEVELS = ("CN", "MCI", "AD")
OLD = Covariate(name="dx", kind="categorical", levels=LEVELS)
AGE = Covariate(name="age", unit="year", minimum=20, maximum=80)
TABLE = {"dx": np.array(["CN", "AD", "MCI", "CN"]), "age": np.array([20.0, 80, 50, 60])}
NEW = fit_schema(CovariateSchema((OLD, AGE)), TABLE)


def test_a_fit_codes_more_than_two_levels_one_hot_and_says_so() -> None:
    assert NEW["dx"].to_json()["coding"] == "one-hot"
    assert NEW.inputs == ("dx=CN", "dx=MCI", "dx=AD", "age")
    assert NEW.scale({"dx": "MCI", "age": NEW["age"].minimum}).tolist() == [0, 1, 0, 0]
    assert CovariateSchema.from_json(json.loads(json.dumps(NEW.to_json()))) == NEW


def test_two_levels_and_whatever_says_its_coding_stay_one_number() -> None:
    fitted = fit_schema(PAPER_SCHEMA, {**TABLE, "sex": list("FMFM"), **_volumes()})
    assert fitted["sex"] == PAPER_SCHEMA["sex"]
    ordered = Covariate(name="dx", kind="categorical", levels=LEVELS, coding="ordered")
    kept = fit_schema(CovariateSchema((ordered, AGE)), TABLE)["dx"]
    assert kept == ordered
    assert kept.code("MCI") == (0.5,)


def _volumes() -> dict[str, Any]:
    return {name: np.arange(4) * 1e4 for name in ("ventricular_volume", "brain_volume")}


def test_a_schema_written_before_there_was_a_coding_is_read_and_scaled_as_before() -> None:
    document = CovariateSchema((OLD, AGE)).to_json()
    assert "coding" not in document["covariates"][0]
    assert "plausible" not in document["covariates"][0]
    schema = CovariateSchema.from_json(document)
    assert schema.inputs == ("dx", "age")
    assert schema.scale({"dx": "MCI", "age": 80}).tolist() == [0.5, 1]
    # Known for good: the fingerprint of releases that were printed with it.
    assert PAPER_SCHEMA.fingerprint[:16] == "91963f614d245f09"


@given(st.sampled_from(LEVELS), st.floats(0, 120))
def test_a_row_comes_back_from_the_networks_inputs(level: str, age: float) -> None:
    back = NEW.unscale(NEW.scale({"dx": level, "age": age}))
    assert back["dx"] == level
    assert back["age"] == pytest.approx(age, abs=1e-4)


def test_what_is_missing_is_nan_at_all_of_its_inputs() -> None:
    found = NEW.scale_known({"dx": None, "age": NEW["age"].maximum})
    assert np.isnan(found[:3]).all()
    assert found[3] == 1
    assert np.isnan(NEW.scale_known({"dx": "AD", "age": math.nan})[3])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"coding": "binary", "kind": "categorical", "levels": LEVELS}, "coding 'binary', expect"),
        ({"coding": "one-hot"}, "only one with levels has a coding"),
        (
            {"coding": "one-hot", "kind": "categorical", "levels": tuple(map(str, range(101)))},
            "101 levels coded one-hot, at most 100",
        ),
        ({"kind": "categorical"}, "a categorical covariate without levels; expected two or more"),
        ({"plausible": (3, 1)}, r"plausible \(3, 1\), expected two numbers"),
        ({"plausible": (0, math.inf)}, "expected two numbers"),
        (
            {"plausible": (0, 1), "kind": "categorical", "levels": LEVELS},
            "whose values are numbers",
        ),
    ],
)
def test_a_wrong_coding_or_range_is_told_in_one_line(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(LdmError, match=told):
        Covariate(name="dx", **fields)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"name": "dx", "level": ["a", "b"]}, "covariate 1: unknown field 'level': did you mean l"),
        ({"name": "dx", "kind": "categorical", "levels": "AB"}, "levels 'AB', expected a list"),
        ({"name": "dx", "kind": "categorical"}, 'without levels; .* "levels": '),
        ({"kind": "continuous"}, "covariate 1: a covariate without a name"),
        ("age", "covariate 1: 'age', expected an object"),
    ],
)
def test_a_schema_file_is_refused_with_the_field_named(entry: Any, told: str) -> None:
    with pytest.raises(LdmError, match=told):
        CovariateSchema.from_json({"covariates": [entry]})


def test_a_calibration_reaches_over_the_inputs_of_levels() -> None:
    plane = Plane(constant=0.1, weights={"age": 0.8, "dx=AD": 0.2, "dx=MCI": 0.05})
    found = calibrate(NEW, {"age": plane}, {"age": Plane(constant=0, weights={"age": 1.0})})
    for level, shift in (("CN", 0.1), ("MCI", 0.15), ("AD", 0.3)):
        told = found.conditions(NEW, {"dx": level, "age": 50})
        wanted = float(NEW.scale({"dx": level, "age": 50})[3])
        assert tuple(told[:3]) == NEW["dx"].code(level)
        assert shift + 0.8 * told[3] == pytest.approx(wanted, abs=1e-5)
    assert Calibration.from_json(json.loads(json.dumps(found.to_json())), NEW) == found
    with pytest.raises(LdmError, match="unknown covariate 'dx=FTD'"):
        Calibration.from_json({"age": {"constant": 0, "weights": {"dx=FTD": 1}}}, NEW)
    with pytest.raises(LdmError, match="calibration of age by dx, no input of its own"):
        Calibration.from_json({"age": {"constant": 0, "weights": {"dx": 1}}}, NEW)


def test_whole_numbers_at_the_ends_of_a_cohort_are_not_the_ends_of_the_range() -> None:
    ages = np.arange(20.0, 80.0)
    fitted = fit_schema(CovariateSchema((AGE,)), {"age": ages})["age"]
    assert fitted.minimum == 19.5
    assert fitted.maximum == 79.5
    assert fitted.maximum - fitted.minimum <= 1.11 * 59
