"""Values that a person can have: by a covariate's own range, else by its name and unit."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from ldm.covariates.covariate import Covariate, Row
from ldm.covariates.schema import CovariateSchema
from ldm.covariates.units import alternatives, converted, factor, known_unit
from ldm.errors import LdmError

# Of living people of any age and illness, head size included: ages of the newborn to the oldest
# known; lateral ventricles from slits to severe hydrocephalus; a whole brain from the premature
# newborn's to the largest, normalised for head size or not. Wide on purpose: they find another
# unit and codes such as 0, 999 or -999, not outliers.
_BY_NAME: dict[str, tuple[str, float, float]] = {
    "age": ("year", 0.01, 120),
    "ventricular_volume": ("mm3", 500, 600_000),
    "brain_volume": ("mm3", 200_000, 2_800_000),
    "intracranial_volume": ("mm3", 200_000, 4_000_000),
}
_ALSO = {
    **dict.fromkeys(("age_at_scan", "scan_age", "age_years", "ageatscan"), "age"),
    **dict.fromkeys(("lateral_ventricle_volume", "ventricle_volume"), "ventricular_volume"),
    **dict.fromkeys(("icv", "tiv", "etiv", "total_intracranial_volume"), "intracranial_volume"),
}
# Numbers that tables write for "not known".
_CODES = frozenset(
    sign * code for sign in (1.0, -1.0) for code in (0, 9, 99, 999, 9999, 99999, 888, 777, 8888)
) | {-1.0}
# Most of a cohort must agree before one value is called another unit's.
_FEWEST, _AGREEING = 8, 0.8


def plausible_range(covariate: Covariate) -> tuple[float, float] | None:
    """The least and the greatest value that a person can have, in the covariate's unit.

    None where nothing is known: the schema tells no range, and name and unit are no known ones.
    """
    if not covariate.is_continuous:
        return None
    if covariate.plausible is not None:
        return covariate.plausible
    name = covariate.name.casefold()
    if (entry := _BY_NAME.get(_ALSO.get(name, name))) is None:
        return None
    unit, low, high = entry
    try:
        by = factor(unit, covariate.unit)
    except LdmError:
        return None
    return converted(low, by), converted(high, by)


def is_plausible(covariate: Covariate, value: float) -> bool:
    """Whether a person can have that value; of a covariate without a range, any."""
    ends = plausible_range(covariate)
    return ends is None or ends[0] <= value <= ends[1]


def expected(covariate: Covariate) -> str:
    """The plausible range in words: `0.01 to 120 year`."""
    ends = plausible_range(covariate)
    assert ends is not None
    return f"{ends[0]:g} to {ends[1]:g} {covariate.unit}".rstrip()


def implausible(covariate: Covariate, value: float) -> str:
    """Why a value is refused, and what it may be meant as: another unit, or a code for none."""
    said = f"{covariate.name} is {value:g}: expected {expected(covariate)}"
    if value in _CODES:
        return f"{said}; if {value:g} stands for a missing value, write n/a"
    if unit := meant_unit(covariate, value):
        return f"{said}; in {unit} it would be {converted(value, factor(unit, covariate.unit)):g}"
    return said


def meant_unit(covariate: Covariate, value: float) -> str | None:
    """The nearest other unit in which an implausible value would be plausible; None for none."""
    if known_unit(covariate.unit) is None:
        return None
    fitting = [
        unit
        for unit in alternatives(covariate.unit)
        if is_plausible(covariate, value * factor(unit, covariate.unit))
    ]
    return fitting[0] if fitting else None


def slips(covariate: Covariate, known: Mapping[str, float]) -> dict[str, str]:
    """Why a value seems to be in another unit than the others, though a person might have it.

    Only where the others agree, and the value would be one of them after conversion; where the
    schema tells its own plausible range nothing is guessed.
    """
    others = alternatives(covariate.unit)
    positive = [value for value in known.values() if value > 0]
    if covariate.plausible or not others or len(positive) < _FEWEST:
        return {}
    middle = median(positive)
    told: dict[str, str] = {}
    for unit in others:
        by = factor(unit, covariate.unit)
        reach = max(by, 1 / by) ** 0.5
        near = [value for value in positive if middle / reach < value < middle * reach]
        if len(near) < _AGREEING * len(positive):
            continue
        low, high = min(near), max(near)
        for name, value in known.items():
            far = value > 2 * high or 0 < value < low / 2
            if far and low <= value * by <= high and name not in told:
                told[name] = (
                    f"{covariate.name} is {value:g}, {low:g} to {high:g} {covariate.unit} in the "
                    f"others: it seems to be in {unit}"
                )
    return told


def check_asked(schema: CovariateSchema, row: Row) -> None:
    """Refuse what no person has, of values that are asked of a model.

    A value within the range that the model was trained on is never refused.

    Raises:
        LdmError: such a value; the message names the range, and the model's own.
    """
    for name, value in row.items():
        covariate = schema[name]
        if isinstance(value, str) or covariate.minimum <= value <= covariate.maximum:
            continue
        if not is_plausible(covariate, value):
            own = f"{covariate.minimum:g} to {covariate.maximum:g}"
            raise LdmError(f"{implausible(covariate, value)}; the model knows {own}")


def beyond(schema: CovariateSchema, row: Row) -> list[str]:
    """What is asked beyond the model's own range, as `age 95, of 20 to 79.5 year`."""
    told = []
    for name, value in row.items():
        covariate = schema[name]
        if covariate.is_extrapolated(value):
            extent = f"{covariate.minimum:g} to {covariate.maximum:g} {covariate.unit}".rstrip()
            told.append(f"{name} {value:g}, of {extent}")
    return told
