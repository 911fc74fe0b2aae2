"""FID of synthetic volumes beside that of real ones, at the same number of volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ldm import noise
from ldm.evaluation.distances import frechet_value
from ldm.evaluation.statistics import checks, jackknife
from ldm.evaluation.statistics.intervals import Estimate

SPLITS = 10
MOST = 512  # volumes a half: more cost much and tell little
_GROUPS = 10
_NOTHING = 1e-12  # a distance of equal sets, rounded


@dataclass(frozen=True, kw_only=True)
class EqualHalves:
    """Fréchet distances to a random half of the real volumes, of sets of one size.

    Attributes:
        synthetic: of as many synthetic volumes as a half has.
        real: of the other half.
        ratio: of the first to the second: 1 where synthetic volumes are as near to real ones as
            these are to each other.
    """

    synthetic: Estimate
    real: Estimate
    ratio: Estimate

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name).to_json() for name in ("synthetic", "real", "ratio")}


def equal_halves(synthetic: ArrayLike, real: ArrayLike, *, seed: int = 0) -> EqualHalves:
    """The Fréchet distance's bias at small n, the same on both sides, mostly leaves their ratio.

    Means over `SPLITS` random halves of the real volumes and as many draws of synthetic ones, each
    of at most `MOST`; fewer where there are fewer synthetic ones. The intervals leave out a group
    of people, and of synthetic volumes, at a time (`jackknife.two_samples`), on logarithms, so
    that they tell the chance in who was there, not in how the halves fell.

    Args:
        synthetic: (N, D) features. real: (M, D) features.

    Raises:
        LdmError: fewer than 4 synthetic or 8 real, not finite, or features of different widths.
    """
    made = checks.features(synthetic, "synthetic", at_least=4)
    people = checks.features(real, "real", at_least=8)
    checks.same_width(("synthetic", made), ("real", people))
    deals = [jackknife.groups(len(x), min(_GROUPS, len(x) // 2), seed=seed) for x in (made, people)]
    all_of = [np.ones(len(x), dtype=bool) for x in (made, people)]
    size = _size(*all_of)
    value = _logs(made, people, all_of, size, seed)
    left_out = []
    for sample, dealt in enumerate(deals):
        kept = [[*all_of] for _ in range(dealt.max() + 1)]
        for group, keep in enumerate(kept):
            keep[sample] = dealt != group
        least = min(_size(*keep) for keep in kept)
        left_out.append(np.array([_logs(made, people, keep, least, seed) for keep in kept]))
    figures = []
    for place, log in enumerate(value):
        without = (part[:, place] for part in left_out)
        found = jackknife.two_samples(float(log), *without, n=size, n_reference=size)
        figures.append(found.exponential())
    return EqualHalves(synthetic=figures[0], real=figures[1], ratio=figures[2])


def _size(made: np.ndarray, people: np.ndarray) -> int:
    """Of each set, of those that are kept."""
    return min(MOST, int(made.sum()), int(people.sum()) // 2)


def _logs(
    made: np.ndarray, people: np.ndarray, kept: list[np.ndarray], size: int, seed: int
) -> np.ndarray:
    """Logarithms of the two mean distances and of their ratio, of the rows that are kept: the same
    orders whichever those are, so that leaving out some changes little else."""
    sums = np.zeros(2)
    for turn in range(SPLITS):
        rng = noise.generator(noise.EVALUATION, seed, turn, len(made), len(people))
        drawn, order = (found[keep[found]] for found, keep in zip(
            (rng.permutation(len(made)), rng.permutation(len(people))), kept, strict=True
        ))  # fmt: skip
        half = people[order[size : 2 * size]]
        sums += [frechet_value(other, half) for other in (made[drawn[:size]], people[order[:size]])]
    synthetic, real = np.log(np.maximum(sums / SPLITS, _NOTHING))
    return np.array([synthetic, real, synthetic - real])
