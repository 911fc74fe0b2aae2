"""What every figure asks of its input: arrays of the right shape, finite, and enough of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ldm.errors import LdmError


def vector(values: ArrayLike, name: str, *, at_least: int = 1) -> np.ndarray:
    """`values` as (N,) float64.

    Raises:
        LdmError: not one-dimensional, not numbers, too few or not finite.
    """
    found = _numbers(values, name)
    if found.ndim != 1:
        raise LdmError(f"{name} of shape {found.shape}: expected (N,)")
    return _enough(found, name, at_least)


def features(values: ArrayLike, name: str, *, at_least: int = 1) -> np.ndarray:
    """`values` as (N, D) float64; the same errors as `vector`."""
    found = _numbers(values, name)
    if found.ndim != 2 or found.shape[1] == 0:
        raise LdmError(f"{name} of shape {found.shape}: expected (N, D), one row a volume")
    return _enough(found, name, at_least)


def same_width(*named: tuple[str, np.ndarray]) -> None:
    """Whether all (N, D) arrays have one D.

    Raises:
        LdmError: they have not; the message names the two that differ.
    """
    first, reference = named[0]
    for name, found in named[1:]:
        if found.shape[1] != reference.shape[1]:
            raise LdmError(
                f"{name} has {found.shape[1]} features, {first} has {reference.shape[1]}: "
                "measure both with the same extractor"
            )


def same_length(*named: tuple[str, Sequence[object] | np.ndarray]) -> int:
    """The common number of rows.

    Raises:
        LdmError: the columns differ in length.
    """
    if len({len(column) for _, column in named}) != 1:
        found = ", ".join(f"{name} {len(column)}" for name, column in named)
        raise LdmError(f"columns of different lengths: {found}; expected one row a volume in each")
    return len(named[0][1])


def _numbers(values: ArrayLike, name: str) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise LdmError(f"{name}: expected an array of numbers") from None


def _enough(found: np.ndarray, name: str, at_least: int) -> np.ndarray:
    if len(found) < at_least:
        raise LdmError(f"{name}: found {len(found)}, expected at least {at_least}")
    wrong = int((~np.isfinite(found)).reshape(len(found), -1).any(axis=1).sum())
    if wrong:
        raise LdmError(
            f"{name}: {wrong} of {len(found)} rows not finite; leave those out and say so"
        )
    return found
