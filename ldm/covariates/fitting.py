"""A schema's fit to a cohort: its columns, checked, and the ranges that they span."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ldm.covariates.covariate import Covariate, Value, is_missing
from ldm.covariates.schema import CovariateSchema
from ldm.errors import LdmError


def fit_schema(
    template: CovariateSchema, table: Mapping[str, Any], *, missing: bool = False
) -> CovariateSchema:
    """`template` with the continuous ranges of a cohort, more than two levels coded one-hot.

    A range is widened to round numbers (some 1 to 10 % of it), so that neither end is one
    subject's value.

    Args:
        template: names, units, kinds and levels.
        table: a column for each covariate, a pandas DataFrame or a dict of arrays.
        missing: whether values may be missing (None, NaN); a range is then of those that are there.

    Raises:
        LdmError: a column is missing or empty, has a value that is no number, or only one value.
    """
    return CovariateSchema(
        tuple(
            _with_range(c, column(c, table, missing=missing)) if c.is_continuous else c
            for c in template.one_hot().covariates
        )
    )


def column(covariate: Covariate, table: Mapping[str, Any], *, missing: bool = False) -> np.ndarray:
    """The cohort's values of a covariate, (N,) float64 or level names as an object array.

    Args:
        missing: leave out those that are missing, instead of refusing them.

    Raises:
        LdmError: the column is missing or empty, or a value in it is bad (its row is named).
    """
    if covariate.name not in table:
        raise LdmError(
            f"column {covariate.name!r} missing from the cohort's table: "
            f"found {', '.join(map(str, table))}"
        )
    values: list[Value] = []
    for row, value in enumerate(np.asarray(table[covariate.name], dtype=object)):
        if missing and is_missing(value):
            continue
        try:
            values.append(covariate.parse(value))
        except LdmError as error:
            raise LdmError(f"row {row} of the cohort's table: {error}") from None
    if not values:
        raise LdmError(f"column {covariate.name!r} of the cohort's table is empty")
    return np.array(values, dtype=np.float64 if covariate.is_continuous else object)


def _with_range(covariate: Covariate, values: np.ndarray) -> Covariate:
    low, high = float(values.min()), float(values.max())
    if not low < high:
        raise LdmError(
            f"covariate {covariate.name} is {low:g} throughout the cohort: expected it to vary"
        )
    step = 10.0 ** math.floor(math.log10(high - low)) / 20
    # Strictly beyond: an age in whole years is a round number itself.
    steps_low, steps_high = math.ceil(low / step) - 1, math.floor(high / step) + 1
    minimum, maximum = (float(f"{steps * step:.12g}") for steps in (steps_low, steps_high))
    # Rounding loses what is less than the smallest part of a step.
    minimum = minimum if minimum < low else low - step
    maximum = maximum if maximum > high else high + step
    return replace(covariate, minimum=minimum, maximum=maximum)
