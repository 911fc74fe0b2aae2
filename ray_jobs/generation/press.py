"""Draws the samples of one batch: volumes that pass the quality check, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ldm.covariates import Row
from ldm.volumes.quality import Quality


class Generates(Protocol):
    """What the press needs of a model: `ldm.models.latent_diffusion.Model`."""

    def generate(
        self,
        covariates: list[dict[str, Any]],
        noise_keys: list[tuple[int, ...]],
        *,
        steps: int,
        sampler: str,
        eta: float,
        guidance: float,
    ) -> np.ndarray:
        """Volumes (B, X, Y, Z) uint16, 0..4095."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One sample as it was drawn.

    Attributes:
        index: which sample.
        covariates: asked of the model, physical units.
        attempt: from 0; the draw that was taken, or the last that failed.
        quality: what the check found.
        levels: (X, Y, Z) uint16 0..4095; None where every attempt failed.
    """

    index: int
    covariates: Row
    attempt: int
    quality: Quality
    levels: np.ndarray | None


def draw_batch(
    model: Generates,
    check: Callable[[np.ndarray, Row], Quality],
    covariates: list[Row],
    *,
    batch: range,
    wanted: Collection[int],
    seed: int,
    steps: int,
    sampler: str,
    attempts: int,
    eta: float = 0.0,
    guidance: float = 1.0,
) -> Iterator[Draw]:
    """The wanted samples of a full batch, each as soon as it is settled.

    Where a sample fails the check the whole batch runs again with the next attempt number and
    only the failed ones are taken from it, so that each stays a function of (seed, index): the
    batch is always full, and what others in it drew does not matter.

    Args:
        model: what draws.
        check: the quality check of one volume, and of what was asked of it.
        covariates: of every index of the batch, wanted or not.
        batch: indices, as many as a forward pass takes.
        wanted: those to draw; the others (past the end of the release) are made and dropped.
        seed: the release's.
        steps, sampler, eta, guidance: how to denoise.
        attempts: draws of a sample before it counts as failed.
    """
    open_indices = [index for index in batch if index in wanted]
    for attempt in range(attempts):
        if not open_indices:
            return
        keys: list[tuple[int, ...]] = [(seed, index, attempt) for index in batch]
        volumes = model.generate(
            covariates, keys, steps=steps, sampler=sampler, eta=eta, guidance=guidance
        )
        failed = []
        for index in open_indices:
            position = index - batch.start
            levels = volumes[position]
            quality = check(levels, covariates[position])
            last = attempt == attempts - 1
            if not quality.ok and not last:
                failed.append(index)
                continue
            yield Draw(
                index=index,
                covariates=covariates[position],
                attempt=attempt,
                quality=quality,
                levels=levels if quality.ok else None,
            )
        open_indices = failed
