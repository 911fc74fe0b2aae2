"""Nearest neighbours of one set of features among another, a block of distances at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ldm.errors import LdmError

_BLOCK = 2**23  # distances held at once: 64 MiB


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """Of each of N rows its k nearest others: (N, k) distances, ascending, and (N, k) indices."""

    distances: np.ndarray
    indices: np.ndarray


def blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Euclidean distances of (N, D) to (M, D), some rows at a time: (rows, (n, M)) float64."""
    middle = y.mean(axis=0)  # distances do not depend on it, their rounding does
    x, y = x - middle, y - middle
    squares = (y**2).sum(axis=1)
    step = max(1, _BLOCK // max(1, len(y)))
    for first in range(0, len(x), step):
        rows = slice(first, min(first + step, len(x)))
        found = x[rows] @ y.T
        found *= -2
        found += squares
        found += (x[rows] ** 2).sum(axis=1)[:, None]
        np.maximum(found, 0, out=found)
        yield rows, np.sqrt(found, out=found)


def nearest(
    x: np.ndarray,
    y: np.ndarray,
    k: int,
    *,
    mirrored: np.ndarray | None = None,
    exclude_self: bool = False,
) -> Nearest:
    """The k nearest rows of `y` (M, D) to each row of `x` (N, D).

    Args:
        mirrored: (N, D), each row of `x` seen in a mirror: the nearer of the two counts.
        exclude_self: x and y are one set, and no row is its own neighbour.

    Raises:
        LdmError: fewer than k candidates.
    """
    candidates = len(y) - int(exclude_self)
    if not 1 <= k <= candidates:
        raise LdmError(f"{k} nearest of {candidates} candidates: expected 1 to {candidates}")
    distances, indices = np.empty((len(x), k)), np.empty((len(x), k), dtype=np.int64)
    reflections = None if mirrored is None else blocks(mirrored, y)
    for rows, found in blocks(x, y):
        if reflections is not None:
            np.minimum(found, next(reflections)[1], out=found)
        if exclude_self:
            found[np.arange(len(found)), np.arange(rows.start, rows.stop)] = np.inf
        if k < found.shape[1]:
            chosen = np.argpartition(found, k - 1, axis=1)[:, :k]
        else:
            chosen = np.broadcast_to(np.arange(k), (len(found), k))
        there = np.take_along_axis(found, chosen, axis=1)
        order = np.argsort(there, axis=1, kind="stable")
        distances[rows] = np.take_along_axis(there, order, axis=1)
        indices[rows] = np.take_along_axis(chosen, order, axis=1)
    return Nearest(distances=distances, indices=indices)
