"""What an audit would have caught: planted leaks among volumes of nobody, drawn again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldm import noise
from ldm.evaluation.privacy.nearness import crowding_p

SHARES = (0.01, 0.02, 0.05, 0.2, 1.0)  # of a release that are leaks, at least one volume
# What an audit must be able to find before its silence means anything: this share of leaks of any
# make, this often.
WANTED, OFTEN = 0.05, 0.8
_TRIES = 400


@dataclass(frozen=True, kw_only=True)
class Power:
    """How often leaks would be caught.

    Attributes:
        volumes: of the release. level: the chance of a false alarm, by these two rules.
        planted: how many leaks of each make were measured.
        caught: by make, of each share of `SHARES`, in how many of the tries.
        found_source: by make, the share of leaks whose nearest subject is one they were made of.
    """

    volumes: int
    level: float
    planted: int
    caught: Mapping[str, tuple[float, ...]]
    found_source: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, with the shares."""
        return {
            "volumes": self.volumes,
            "level": float(f"{self.level:.3g}"),
            "planted": self.planted,
            "shares": list(SHARES),
            "caught": {make: list(found) for make, found in self.caught.items()},
            "found_source": dict(self.found_source),
        }

    @property
    def doubts(self) -> tuple[str, ...]:
        """A line for each make of leaks that would too often pass."""
        place = SHARES.index(WANTED)
        leaks = max(1, round(WANTED * self.volumes))
        return tuple(
            f"{leaks} leaks among {self.volumes} volumes ({make}) would be caught in "
            f"{found[place]:.0%} of tries, expected {OFTEN:.0%}: more volumes, or more real people"
            for make, found in self.caught.items()
            if found[place] < OFTEN
        )


def caught(
    null: np.ndarray, leaks: np.ndarray, count: int, threshold: float, rank: int, level: float
) -> tuple[float, ...]:
    """How often a release of `count` volumes with leaks fails, for each share of `SHARES`.

    Args:
        null: relative distances of people who are nobody else's copy.
        leaks: the same of planted leaks.
        threshold: of a near-copy, at that `count`.
        rank: of the `null` value below which volumes crowd.
        level: of each of the two rules.
    """
    rng = noise.generator(noise.EVALUATION, 2, count, len(null))
    line = np.sort(null)[rank - 1]
    most = int(count)
    fewest_crowding = next(
        (k for k in range(most + 1) if crowding_p(k, count, rank, len(null)) < level), most + 1
    )
    found = []
    for share in SHARES:
        number = max(1, round(share * count))
        hits = 0
        for _ in range(_TRIES):
            planted = rng.choice(leaks, number)
            innocent = rng.choice(null, count - number)
            crowd = int((planted < line).sum() + (innocent < line).sum())
            hits += bool((planted < threshold).any()) or crowd >= fewest_crowding
        found.append(hits / _TRIES)
    return tuple(found)
