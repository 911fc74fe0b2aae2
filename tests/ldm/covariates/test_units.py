"""Units in any spelling, what they convert to, and what no person has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm.covariates import PAPER_SCHEMA, Covariate
from ldm.covariates.plausible import implausible, is_plausible, meant_unit, plausible_range
from ldm.covariates.units import alternatives, converted, factor, known_unit
from ldm.errors import LdmError


@pytest.mark.parametrize(
    ("spelled", "unit"),
    [
        *((text, "year") for text in ("year", "Years", "yr", "YRS", "y", "a", "years old")),
        *((text, "month") for text in ("month", "Months", "mo", "mos.")),
        *((text, "day") for text in ("d", "Days")),
        *((text, "mm3") for text in ("mm3", "mm^3", "mm\u00b3", "mm**3", "cubic millimetres")),
        *((text, "mm3") for text in ("uL", "\u00b5L", "\u03bcl", "[mm^3]")),
        *((text, "cm3") for text in ("mL", "ml", "cm3", "cm^3", "cc", "millilitres", "Milliliter")),
        *((text, "litre") for text in ("l", "L", "litre", "Liters")),
        *((text, None) for text in ("", "ells", "year month", "10^3 mm3")),
    ],
)
def test_a_unit_is_known_in_the_spellings_of_tables(spelled: str, unit: str | None) -> None:
    assert known_unit(spelled) == unit


@pytest.mark.parametrize(
    ("found", "wanted", "value", "expected"),
    [
        ("months", "year", 738, 61.5),
        ("days", "year", 365.25, 1),
        ("weeks", "year", 365.25 / 7, 1),
        ("mL", "mm3", 30, 30_000),
        ("litre", "mm3", 1.2, 1_200_000),
        ("mm3", "cm3", 30_000, 30),
        ("points", "Points", 7, 7),
    ],
)
def test_a_number_is_converted(found: str, wanted: str, value: float, expected: float) -> None:
    assert converted(value, factor(found, wanted)) == pytest.approx(expected)


@pytest.mark.parametrize(("found", "wanted"), [("year", "mm3"), ("ells", "year"), ("kg", "points")])
def test_units_of_two_kinds_do_not_convert(found: str, wanted: str) -> None:
    with pytest.raises(LdmError, match=f"unit '{found}': expected {wanted}"):
        factor(found, wanted)


@given(st.sampled_from(["year", "mm3", "mm", "kg"]), st.floats(1e-3, 1e6))
def test_there_and_back_is_the_same_number(unit: str, value: float) -> None:
    for other in alternatives(unit):
        there = converted(value, factor(unit, other))
        assert converted(there, factor(other, unit)) == pytest.approx(value, rel=1e-9)


def test_a_plausible_range_is_that_of_name_and_unit_or_the_schemas_own() -> None:
    assert plausible_range(PAPER_SCHEMA["age"]) == (0.01, 120)
    assert plausible_range(PAPER_SCHEMA["sex"]) is None
    assert plausible_range(Covariate(name="age", unit="months")) == (0.12, 1440)
    assert plausible_range(Covariate(name="age_at_scan", unit="yrs")) == (0.01, 120)
    assert plausible_range(Covariate(name="ventricular_volume", unit="mL")) == (0.5, 600)
    assert plausible_range(Covariate(name="age", unit="points")) is None
    assert plausible_range(Covariate(name="iq")) is None
    assert plausible_range(Covariate(name="age", unit="year", plausible=(0, 3))) == (0, 3)


def test_what_is_refused_is_told_with_what_it_may_be_meant_as() -> None:
    age = PAPER_SCHEMA["age"]
    assert implausible(age, 999) == (
        "age is 999: expected 0.01 to 120 year; if 999 stands for a missing value, write n/a"
    )
    assert meant_unit(age, 400) == "month"
    assert meant_unit(age, 20_000) == "day"
    assert meant_unit(age, -4) is None
    assert not is_plausible(age, 120.5)
    assert is_plausible(Covariate(name="iq"), -1e9)
