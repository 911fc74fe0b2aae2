"""Whether a sample is extrapolated: it is asked, or its model told, beyond the training data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from manifests.errors import ReleaseError
from manifests.format.schema import ONE_HOT, Column, Told

EDGE = 1e-6  # of the range: so near to its ends either answer is right


def is_extrapolated(columns: Sequence[Column], row: Mapping[str, Any]) -> bool:
    """Whether a value asked for, or what a model is told in its place, is outside its range.

    Raises:
        ValueError: a level that its covariate does not have.
    """
    return any(_is_outside(column, row[column.name]) for column in columns) or any(
        told < -EDGE or told > 1 + EDGE for told in told_of(columns, row)
    )


def on_the_edge(columns: Sequence[Column], row: Mapping[str, Any]) -> bool:
    """Whether rounding decides: something told lies at an end of its range."""
    return any(min(abs(told), abs(told - 1)) <= 2 * EDGE for told in told_of(columns, row))


def told_of(columns: Sequence[Column], row: Mapping[str, Any]) -> list[float]:
    """What a model is told of the covariates that are calibrated, 0 to 1 over the range.

    Raises:
        ValueError: a level that its covariate does not have.
    """
    if not any(column.told for column in columns):
        return []
    inputs = {name: x for column in columns for name, x in _inputs(column, row[column.name])}
    return [
        column.told.constant + math.fsum(w * inputs[name] for name, w in column.told.weights)
        for column in columns
        if column.told
    ]


def check_told(columns: Sequence[Column]) -> None:
    """Refuse what a model is told by values that no column has.

    Raises:
        ReleaseError: which.
    """
    known = {name for column in columns for name in _names(column)}
    for column in columns:
        told: Told | None = column.told
        for name, _ in told.weights if told else ():
            if name not in known:
                raise ReleaseError(
                    f"column {column.name}: what is told of it depends on {name!a:.60}, expected "
                    "covariates of the release that have a range or levels"
                )


def _is_outside(column: Column, value: Any) -> bool:
    if column.kind != "continuous" or column.minimum is None or column.maximum is None:
        return False
    return not column.minimum <= value <= column.maximum


def _names(column: Column) -> list[str]:
    """The model's inputs for a column; none of one that has no scale."""
    if column.coding == ONE_HOT:
        return [f"{column.name}={level}" for level in column.levels]
    scaled = column.kind == "categorical" or None not in (column.minimum, column.maximum)
    return [column.name] if scaled else []


def _inputs(column: Column, value: Any) -> list[tuple[str, float]]:
    names = _names(column)
    if column.coding == ONE_HOT:
        place = column.levels.index(value)
        return [(name, float(number == place)) for number, name in enumerate(names)]
    return [(name, float(column.scaled(value) or 0.0)) for name in names]
