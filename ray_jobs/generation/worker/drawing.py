"""Draws the samples of one batch: volumes that pass the quality check, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ldm.contrasts import T1W
from ldm.covariates import Row
from ldm.volumes.conversion import NOT_FINITE
from ldm.volumes.quality import SIZE_ERROR, Quality, Strictness, check, loosened
from ray_jobs.generation.recipe import Recipe
from ray_jobs.generation.worker.doubts import Draws, not_finite
from ray_jobs.generation.worker.tally import Stage, Tally

if TYPE_CHECKING:
    from ldm.models.base import LoadedModel
    from ldm.models.description import ModelDescription


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One sample as it was drawn.

    Attributes:
        index: which sample.
        covariates: asked of the model, physical units.
        attempt: from 0; the draw that was taken, or the last that failed.
        quality: what the check found.
        levels: (X, Y, Z) uint16 0..4095; None where every attempt failed.
        rejected: what the last attempt drew, where it failed too.
    """

    index: int
    covariates: Row
    attempt: int
    quality: Quality
    levels: np.ndarray | None
    rejected: np.ndarray | None = None


def volumes_of(
    model: LoadedModel, recipe: Recipe, batch: range, covariates: list[Row], *, attempt: int = 0
) -> np.ndarray:
    """Every volume of a full batch at one attempt, (B, X, Y, Z) uint16 0..4095.

    Args:
        covariates: the recipe's, of every index of the batch.
    """
    return model.generate(covariates, recipe.keys(batch, attempt), **recipe.keywords())


def draw_batch(
    model: LoadedModel,
    judge: Callable[[np.ndarray, Row], Quality],
    recipe: Recipe,
    batch: range,
    *,
    wanted: Mapping[int, range],
    settled: Draws = frozenset(),
    alone: AbstractContextManager[Any],
    tally: Tally,
) -> Iterator[Draw]:
    """The wanted samples of a full batch, each as soon as it is settled.

    Where a sample fails the check the whole batch runs again with the next attempt number and
    only the failed ones are taken from it, so that each stays a function of (seed, index): the
    batch is always full, and what others in it drew does not matter.

    Args:
        model: what draws.
        judge: the quality check of one volume, and of what was asked of it.
        recipe: how to draw.
        batch: indices, as many as a forward pass takes.
        wanted: those to draw, and the attempts that each may take; the others (past the end of the
            release) are made and dropped.
        settled: draws that are known not to be finite, on whatever device.
        alone: a lock, held while the device draws; not while volumes are checked.
        tally: what counts the seconds of both.

    Raises:
        DoubtfulError: draws that are not finite and not settled. None of the pass is given then.
    """
    covariates = recipe.covariates(batch)

    def drawn(attempt: int) -> np.ndarray:
        with alone, tally.stage(Stage.DRAW):
            return volumes_of(model, recipe, batch, covariates, attempt=attempt)

    left = {index: wanted[index] for index in batch if index in wanted}
    while left:
        attempt = min(attempts.start for attempts in left.values())
        volumes = drawn(attempt)
        now = [index for index, attempts in left.items() if attempts.start == attempt]
        bad = _not_finite(volumes, batch, attempt, now)
        if doubts := bad - settled:
            rest = {index: left[index][1:] for index, _ in doubts}
            doubts |= _doubts_to_come(drawn, batch, rest) - settled
            raise not_finite(doubts, whole=len(bad) == len(now))
        for index in now:
            position = index - batch.start
            levels = volumes[position]
            with tally.stage(Stage.CHECK):
                quality = judge(levels, covariates[position])
            attempts = left.pop(index)
            if not quality.ok and len(attempts) > 1:
                left[index] = attempts[1:]
                continue
            yield Draw(
                index=index,
                covariates=covariates[position],
                attempt=attempt,
                quality=quality,
                levels=levels if quality.ok else None,
                rejected=None if quality.ok else levels,
            )


def _not_finite(volumes: np.ndarray, batch: range, attempt: int, wanted: Iterable[int]) -> Draws:
    """The draws of a pass that hold what is no number."""
    return frozenset(
        (index, attempt) for index in wanted if (volumes[index - batch.start] == NOT_FINITE).any()
    )


def _doubts_to_come(
    drawn: Callable[[int], np.ndarray], batch: range, left: Mapping[int, range]
) -> Draws:
    """What would come of samples whose draw was not finite, were that believed: all doubts of a
    batch at once, so that another device has to be asked only once."""
    found: Draws = frozenset()
    left = dict(left)
    for attempt in sorted({attempt for attempts in left.values() for attempt in attempts}):
        now = [index for index, attempts in left.items() if attempt in attempts]
        if not now:
            break
        bad = _not_finite(drawn(attempt), batch, attempt, now)
        found |= bad
        for index in set(now) - {index for index, _ in bad}:
            del left[index]
    return found


def check_asked(
    description: ModelDescription, strictness: Strictness, levels: np.ndarray, asked: Row
) -> Quality:
    """The quality check of a volume, by what is left of its model's bounds for its contrast.

    Of covariates beyond the cohort's nobody knows how large a brain they make: that figure is
    told, and refuses nothing.
    """
    suffix = description.suffix_of(asked)
    bounds = loosened(description.bounds_of.get(suffix, description.bounds), strictness)
    if description.schema.is_extrapolated(asked):
        bounds = {name: pair for name, pair in bounds.items() if name != SIZE_ERROR}
    sized = len(description.suffixes) == 1 or suffix == T1W
    size = description.brain_size if sized else None
    return check(levels, bounds, size=size, asked=asked)
