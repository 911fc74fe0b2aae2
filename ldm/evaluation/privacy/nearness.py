"""How near volumes come to one training subject, relative to the next, and what is a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ldm.errors import LdmError
from ldm.evaluation.statistics.neighbours import nearest

CEILING = 0.5  # alpha of Carlini et al. 2023: what is no nearer than this is no copy
OTHERS = 10  # further training subjects that a nearest one is measured against
FEWEST_HELD_OUT = 10


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Of each of N volumes, how far it is from each of K candidates.

    Attributes:
        people: (N, K) row numbers of the people.
        distances: (N, K) 1 less the mean correlation of folds: 0 of a copy, about 0.3 of two people
            of one cohort.
    """

    people: np.ndarray
    distances: np.ndarray

    @classmethod
    def joined(cls, parts: list[Matches]) -> Matches:
        """Of the volumes of all parts, in order."""
        return cls(
            people=np.concatenate([part.people for part in parts]),
            distances=np.concatenate([part.distances for part in parts]),
        )


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """Of each of N volumes, its nearest training subject.

    Attributes:
        distance: (N,) to it.
        relative: (N,) the same over the mean distance to the next `OTHERS` nearest ones: about 1
            for somebody new, near 0 for a copy.
        subject: (N,) its index.
    """

    distance: np.ndarray
    relative: np.ndarray
    subject: np.ndarray


def nearness(
    volumes: np.ndarray,
    training: np.ndarray,
    mirrored: np.ndarray | None = None,
    persons: Sequence[str] | None = None,
) -> Nearness:
    """Of (N, D) `volumes` to (T, D) `training`, in either reflection where `mirrored` is given.

    The relative distance is Carlini et al. 2023 (USENIX Security, section 4.2), with 10 neighbours:
    a blurred or a typical volume is near to everybody, only a copy is near to one.

    Args:
        persons: (T,) whose each training row is; by default each is somebody else. The 10
            neighbours are 10 persons: a copy of one session is near to the person's others too.

    Raises:
        LdmError: fewer than 3 training subjects.
    """
    whose, rows = np.unique(
        range(len(training)) if persons is None else list(persons), return_inverse=True
    )
    if len(whose) < 3:
        raise LdmError(f"{len(whose)} training subjects: expected at least 3")
    others = min(OTHERS, len(whose) - 1)
    wide = min(len(training), (others + 1) * int(np.bincount(rows).max(initial=1)))
    found = nearest(volumes, training, wide, mirrored=mirrored)
    distances = found.distances
    if wide > others + 1:
        distances = _of_persons(found.distances, rows[found.indices])[:, : others + 1]
    first, rest = distances[:, 0], distances[:, 1:].mean(axis=1)
    relative = np.divide(first, rest, out=np.zeros(len(first)), where=rest > 0)
    return Nearness(distance=first, relative=relative, subject=found.indices[:, 0])


def _of_persons(distances: np.ndarray, whose: np.ndarray) -> np.ndarray:
    """(N, K) ascending distances to the nearest row of each person; infinite past the last."""
    again = np.zeros(whose.shape, dtype=bool)
    for column in range(1, whose.shape[1]):
        again[:, column] = (whose[:, :column] == whose[:, column : column + 1]).any(axis=1)
    return np.sort(np.where(again, np.inf, distances), axis=1)


def matched_nearness(
    matches: Matches, persons: Sequence[str], trained: np.ndarray, own: Sequence[str] | None = None
) -> Nearness:
    """Of N matched volumes to the training subjects among their candidates.

    Args:
        matches: with P people.
        persons: (P,) whose each row of them is.
        trained: (P,) bool, whether it was trained on.
        own: (N,) who each volume shows, whose own rows do not count; None: somebody else.

    Raises:
        LdmError: a volume with fewer than 3 training subjects among its candidates.
    """
    names, whose = np.unique(list(persons), return_inverse=True)
    there = whose[matches.people]
    barred = ~np.asarray(trained)[matches.people]
    if own is not None:
        place = {name: number for number, name in enumerate(names)}
        barred |= there == np.array([place.get(name, -1) for name in own])[:, None]
    order = np.argsort(np.where(barred, np.inf, matches.distances), axis=1, kind="stable")
    distances = np.take_along_axis(np.where(barred, np.inf, matches.distances), order, axis=1)
    distances = _of_persons(distances.astype(np.float64), np.take_along_axis(there, order, axis=1))
    others = distances[:, 1 : OTHERS + 1]
    known = np.isfinite(others)
    if len(others) and known.sum(axis=1).min() < 2:
        raise LdmError("a volume is matched with fewer than 3 training subjects: expected more")
    rest = np.where(known, others, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    first = distances[:, 0]
    return Nearness(
        distance=first,
        relative=np.divide(first, rest, out=np.zeros(len(first)), where=rest > 0),
        subject=np.take_along_axis(matches.people, order[:, :1], axis=1)[:, 0],
    )


def copy_threshold(
    held_out: np.ndarray, count: int, level: float, ceiling: float = CEILING
) -> float:
    """The relative distance below which none of `count` new volumes should fall.

    Nearest distances are minima, so their logarithm has an exponential lower tail, at a rate that
    is the local dimension of the data (a Poisson process: P(d_1 / d_2 < r) = r^D; Facco et al.
    2017, Sci. Rep. 7:12140). The tail is fitted to the held-out subjects nearer than their median;
    as its rate is estimated from h of them, a further volume lies x beyond the median with
    probability (1 + x / S)^-h / 2, S the sum of their excesses (the predictive distribution of
    Lomax). The threshold is where that probability is level / count (Bonferroni); never above
    the nearest held-out subject, nor above `ceiling`.

    Args:
        held_out: (H,) relative distances of real subjects that were not trained on.
        level: the probability that any of `count` like them falls below.
        ceiling: what is no nearer than this is no copy, whatever people do.

    Raises:
        LdmError: fewer than 10 held-out subjects, or one that is itself a training subject.
    """
    if len(held_out) < FEWEST_HELD_OUT:
        raise LdmError(
            f"{len(held_out)} held-out subjects: expected at least {FEWEST_HELD_OUT} to calibrate"
        )
    if held_out.min() < 1e-6:
        raise LdmError(
            f"held-out subject {int(held_out.argmin())} is a training subject too: split by subject"
        )
    nearer = -np.log(held_out)
    median = float(np.median(nearer))
    excess = nearer[nearer > median] - median
    if not len(excess):
        return min(ceiling, float(held_out.min()))
    reach = float(excess.sum()) * ((count / (2 * level)) ** (1 / len(excess)) - 1)
    return min(ceiling, float(np.exp(-median - reach)), float(held_out.min()))


def crowding_p(below: int, count: int, rank: int, held_out: int) -> float:
    """The probability that `below` or more of `count` volumes fall under the `rank`-th smallest
    of `held_out` values when all are alike: exact, beta-binomial with the threshold's own chance
    (Wilks 1941, Ann. Math. Stat. 12:91)."""
    from scipy.stats import betabinom

    return float(betabinom.sf(below - 1, count, rank, held_out + 1 - rank))
