"""Covariates: scaling, checking, parsing and fitting of a schema, with errors in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ldm.covariates import PAPER_SCHEMA, UNCONDITIONAL, Covariate, CovariateSchema, fit_schema
from ldm.covariates.sources import TableCovariates, uniform
from ldm.errors import LdmError
from tests.ldm.cohorts import heavy_tailed_cohort

ROW = {"sex": "F", "age": 63, "ventricular_volume": 40_000, "brain_volume": 1_400_000}


def test_the_papers_ranges_scale_to_0_and_1() -> None:
    low = {"sex": "F", "age": 44, "ventricular_volume": 6_995.68, "brain_volume": 1_144_240}
    high = {"sex": "M", "age": 82, "ventricular_volume": 171_375, "brain_volume": 1_793_910}
    assert PAPER_SCHEMA.scale(low).tolist() == [0, 0, 0, 0]
    assert PAPER_SCHEMA.scale(high).tolist() == [1, 1, 1, 1]
    assert PAPER_SCHEMA.scale(low).dtype == np.float32


def test_a_scaled_value_of_1_9_is_the_papers_extrapolated_ventricle() -> None:
    row = PAPER_SCHEMA.unscale([0, 0.5, 1.9, 0.5])
    assert row["sex"] == "F"
    assert row["ventricular_volume"] == pytest.approx(6_995.68 + 1.9 * (171_375 - 6_995.68))
    assert PAPER_SCHEMA.is_extrapolated(row)


def test_the_ends_of_a_range_are_not_extrapolated() -> None:
    assert not PAPER_SCHEMA.is_extrapolated({"age": 44})
    assert not PAPER_SCHEMA.is_extrapolated({"age": 82, "sex": "M"})
    assert PAPER_SCHEMA.is_extrapolated({**ROW, "age": 82.01})


def test_three_levels_are_spread_evenly() -> None:
    field = Covariate(name="field", kind="categorical", levels=("1.5T", "3T", "7T"))
    assert [field.scale(level) for level in field.levels] == [0, 0.5, 1]
    assert [field.unscale(x) for x in (-1, 0.4, 0.8, 3)] == ["1.5T", "3T", "7T", "7T"]


@pytest.mark.parametrize("spelled", ["f", "F", "female", "Female", "FEMALE", " F "])
def test_sex_may_be_spelled_as_bids_allows(spelled: str) -> None:
    assert PAPER_SCHEMA["sex"].parse(spelled) == "F"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({**ROW, "age": math.nan}, "age is nan: expected a finite number in year"),
        ({**ROW, "age": "old"}, "age is 'old': expected a finite number in year"),
        ({**ROW, "age": None}, "age is None"),
        ({**ROW, "sex": "X"}, "sex is 'X': expected one of F, M"),
        ({**ROW, "ages": 3}, "unknown covariate 'ages': did you mean age?"),
        ({"sex": "F"}, "covariate age, ventricular_volume, brain_volume missing"),
    ],
)
def test_a_bad_row_is_told_in_one_line(row: dict[str, Any], told: str) -> None:
    with pytest.raises(LdmError) as caught:
        PAPER_SCHEMA.validate(row)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_validated_row_is_in_the_schemas_order_with_floats() -> None:
    row = PAPER_SCHEMA.validate(dict(reversed(list({**ROW, "age": "63"}.items()))))
    assert list(row) == list(PAPER_SCHEMA.names)
    assert row["age"] == 63.0


def test_fixed_covariates_are_parsed_from_options() -> None:
    assert PAPER_SCHEMA.parse_fixed(["sex=m", " age = 70 "]) == {"sex": "M", "age": 70.0}


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["age"], "fixed covariate 'age': expected name=value"),
        (["age="], "expected name=value"),
        (["=70"], "expected name=value"),
        (["age=70", "age=71"], "age is fixed twice"),
        (["agee=70"], "did you mean age?"),
        (["age=seventy"], "age is 'seventy'"),
    ],
)
def test_a_bad_option_is_told_in_one_line(texts: list[str], told: str) -> None:
    with pytest.raises(LdmError, match=told.replace("?", r"\?")):
        PAPER_SCHEMA.parse_fixed(texts)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "", "maximum": 2},
        {"name": "a b", "maximum": 2},
        {"name": "a", "kind": "ordinal"},
        {"name": "a", "minimum": 2, "maximum": 2},
        {"name": "a", "maximum": math.inf},
        {"name": "a", "levels": ("x", "y")},
        {"name": "a", "kind": "categorical", "levels": ("x",)},
        {"name": "a", "kind": "categorical", "levels": ("x", "x")},
    ],
)
def test_a_covariate_is_checked_at_birth(fields: dict[str, Any]) -> None:
    with pytest.raises(LdmError):
        Covariate(**fields)


def test_a_schema_needs_covariates_of_different_names() -> None:
    age = Covariate(name="age", maximum=100)
    with pytest.raises(LdmError, match="occurs twice"):
        CovariateSchema((age, age))


def test_the_schema_of_nothing_takes_the_empty_row_and_refuses_every_covariate() -> None:
    assert UNCONDITIONAL.validate({}) == {}
    assert UNCONDITIONAL.scale({}).shape == (0,)
    assert UNCONDITIONAL.parse_fixed([]) == {}
    assert not UNCONDITIONAL.is_extrapolated({})
    with pytest.raises(LdmError, match="'age': this model is unconditional"):
        UNCONDITIONAL.parse_fixed(["age=70"])


def test_a_schema_survives_json_and_its_fingerprint_sees_every_field() -> None:
    document = json.loads(json.dumps(PAPER_SCHEMA.to_json()))
    assert CovariateSchema.from_json(document) == PAPER_SCHEMA
    document["covariates"][1]["maximum"] = 83
    changed = CovariateSchema.from_json(document)
    assert changed.fingerprint != PAPER_SCHEMA.fingerprint
    assert len(changed.fingerprint) == 64


@pytest.mark.parametrize("document", [{}, {"covariates": 3}, {"covariates": [{"nam": "age"}]}])
def test_a_broken_schema_file_is_told_in_one_line(document: dict[str, Any]) -> None:
    with pytest.raises(LdmError, match="covariate schema unreadable"):
        CovariateSchema.from_json(document)


def test_a_fitted_range_holds_the_cohort_and_hides_its_extremes() -> None:
    table = heavy_tailed_cohort()
    schema = fit_schema(PAPER_SCHEMA, table)
    for covariate in schema.continuous:
        values = table[covariate.name]
        width = values.max() - values.min()
        assert covariate.minimum < values.min()
        assert values.max() < covariate.maximum
        assert covariate.maximum - covariate.minimum < 1.11 * width
    assert schema["sex"] == PAPER_SCHEMA["sex"]
    assert not any(schema.is_extrapolated(row) for row in table.to_dict("records"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.drop(columns="age"), "column 'age' missing"),
        (lambda t: t.assign(age=70), "age is 70 throughout the cohort"),
        (lambda t: t.assign(age=[math.nan, *t["age"][1:]]), "row 0 of the cohort's table"),
        (lambda t: t.head(0), "is empty"),
    ],
)
def test_a_cohort_that_cannot_be_fitted_is_told_in_one_line(change: Any, told: str) -> None:
    with pytest.raises(LdmError, match=told):
        fit_schema(PAPER_SCHEMA, change(heavy_tailed_cohort()))


def test_uniform_covers_the_range_and_keeps_what_is_fixed() -> None:
    rows = [uniform(PAPER_SCHEMA, np.random.default_rng((0, i)), {"age": 90}) for i in range(400)]
    table = pd.DataFrame(rows)
    assert (table["age"] == 90).all()
    assert 0.4 < (table["sex"] == "M").mean() < 0.6
    scaled = np.array([PAPER_SCHEMA.scale(row)[3] for row in rows])
    assert scaled.min() < 0.02
    assert scaled.max() > 0.98
    assert abs(np.corrcoef(table["ventricular_volume"], table["brain_volume"])[0, 1]) < 0.1


def test_uniform_draws_the_same_rest_whatever_is_fixed() -> None:
    free = uniform(PAPER_SCHEMA, np.random.default_rng(5))
    fixed = uniform(PAPER_SCHEMA, np.random.default_rng(5), {"age": 50})
    assert fixed == {**free, "age": 50.0}


def test_a_table_gives_row_i_to_sample_i(tmp_path: Path) -> None:
    path = tmp_path / "asked.csv"
    path.write_text("participant,sex,age\na,F,70\nb,male,40.5\n")
    table = TableCovariates.from_file(PAPER_SCHEMA, path)
    assert len(table) == 2
    assert table.names == ("sex", "age")
    assert table.row(1) == {"sex": "M", "age": 40.5}
    rows = [{"sex": "F", "age": 70.0}, {"sex": "M", "age": 40.5}]
    assert TableCovariates(PAPER_SCHEMA, rows).fingerprint == table.fingerprint
    assert TableCovariates(PAPER_SCHEMA, rows[::-1]).fingerprint != table.fingerprint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("age\n", "has no row"),
        ("", "No columns"),
        ("ages\n3\n", "expected at least one of sex, age"),
        ("age,sex\n70,F\n,F\n", "row 1 of the table of covariates: age is ''"),
        ("age,sex\n70,Q\n", "row 0 of the table of covariates: sex is 'Q'"),
    ],
)
def test_a_bad_table_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "asked.csv"
    path.write_text(text)
    with pytest.raises(LdmError, match=told) as caught:
        TableCovariates.from_file(PAPER_SCHEMA, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_missing_or_too_short_says_so(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="no such file"):
        TableCovariates.from_file(PAPER_SCHEMA, tmp_path / "none.tsv")
    with pytest.raises(LdmError, match=r"expected a \.csv or \.tsv file"):
        TableCovariates.from_file(PAPER_SCHEMA, tmp_path / "none.xlsx")
    with pytest.raises(LdmError, match=r"which has 1: ask for at most 1 samples"):
        TableCovariates(PAPER_SCHEMA, [{"age": 70}]).row(1)
