"""Whether two sets of rows can be told apart: a classifier judged on rows that it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ldm import noise
from ldm.errors import LdmError
from ldm.evaluation.statistics import checks, ranking
from ldm.evaluation.statistics.intervals import Estimate

FOLDS, REPEATS, SPLITS = 5, 5, 100
PENALTY = 0.1  # of ridge regression, in variances of a predictor
_TAILS = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class ToldApart:
    """Area under the ROC curve of a classifier, on rows that it was not trained on.

    Attributes:
        synthetic: of synthetic volumes against real ones: 0.5 cannot be told apart, 1 always.
        real: of real volumes against other real ones at the same two sizes: mean, and the 2.5 and
            97.5 percentiles over random splits. What equal distributions give at that size.
    """

    synthetic: Estimate
    real: Estimate

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval lies above what real volumes give among themselves."""
        return self.synthetic.low > self.real.high

    def to_json(self) -> dict[str, Any]:
        return {
            "synthetic": self.synthetic.to_json(),
            "real": self.real.to_json(),
            "beyond_chance": self.beyond_chance,
        }


def told_apart(
    synthetic: ArrayLike, unseen: ArrayLike, others: ArrayLike, *, seed: int = 0
) -> ToldApart:
    """Synthetic volumes against the real `unseen`, and real against real at the same sizes.

    Synthetic ones are cut to as many as there are `others`, by chance. For real against real both
    groups of real volumes are thrown together and split at random, `SPLITS` times; of a synthetic
    or a real comparison `REPEATS` draws of folds, of synthetic volumes too, are averaged.

    The interval is that of `ranking.area`, which takes scores as given, its standard error times
    what real against real scatters more than such scores would: as the classifier is learnt from
    few volumes, so do the areas.

    Args:
        synthetic: (N, D) figures. unseen: (M, D), of people on whom nothing was trained.
        others: (K, D), of the other people.

    Raises:
        LdmError: fewer than `FOLDS` in a group, not finite, or figures of different widths.
    """
    named = (("synthetic", synthetic), ("unseen", unseen), ("others", others))
    made, held_out, rest = (checks.features(x, name, at_least=FOLDS) for name, x in named)
    checks.same_width(("synthetic", made), ("unseen", held_out), ("others", rest))
    size, people = min(len(made), len(rest)), np.concatenate([held_out, rest])
    areas = []
    for turn in range(REPEATS):
        rng = noise.generator(noise.EVALUATION, seed, turn, size)
        chosen = rng.choice(len(made), size, replace=False)
        areas.append(cross_validated(made[chosen], held_out, rng))
    other = len(held_out)
    chance = np.array([_split(people, size, other, (seed, turn)) for turn in range(SPLITS)])
    value, low, high = (float(x) for x in (chance.mean(), *np.quantile(chance, _TAILS)))
    scatter = float(np.sqrt(np.mean((chance - 0.5) ** 2)))
    widen = max(1.0, scatter / ranking.chance_error(size, other))
    return ToldApart(
        synthetic=ranking.area(float(np.mean(areas)), size, other, widen=widen),
        real=Estimate(value=value, low=low, high=high, n=size, n_reference=other),
    )


def _split(people: np.ndarray, size: int, others: int, key: tuple[int, int]) -> float:
    """The area of `size` people against `others` other ones, drawn at random."""
    rng = noise.generator(noise.EVALUATION, *key, size, len(people))
    one, other = np.split(people[rng.permutation(len(people))[: size + others]], [size])
    return float(np.mean([cross_validated(one, other, rng) for _ in range(REPEATS)]))


def cross_validated(
    positives: np.ndarray, negatives: np.ndarray, rng: np.random.Generator
) -> float:
    """Area under the ROC curve of ridge regression over `FOLDS` stratified folds.

    Each row is scored by a regression of the other folds' labels on their figures, the classes of
    equal weight, figures standardised there. Scores are compared within a fold alone: across folds
    they come from different regressions, and each fold's own rows pull the others' the wrong way,
    by which equal groups would seem below 0.5.

    Args:
        positives: (P, D). negatives: (Q, D), `FOLDS` or more of either.

    Raises:
        LdmError: too few.
    """
    if min(len(positives), len(negatives)) < FOLDS:
        raise LdmError(
            f"{len(positives)} and {len(negatives)} volumes to tell apart: expected {FOLDS} or more"
        )
    rows = np.concatenate([positives, negatives])
    label = np.repeat([1.0, -1.0], [len(positives), len(negatives)])
    dealt = np.concatenate([rng.permutation(np.arange(len(x)) % FOLDS)
                            for x in (positives, negatives)])  # fmt: skip
    concordant, pairs = 0.0, 0
    for fold in range(FOLDS):
        train, test = dealt != fold, dealt == fold
        scores = rows[test] @ _ridge(rows[train], label[train])
        gap = scores[label[test] > 0][:, None] - scores[label[test] < 0]
        concordant += float((gap > 0).sum() + 0.5 * (gap == 0).sum())
        pairs += gap.size
    return concordant / pairs


def _ridge(rows: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(D,) weights; a constant changes no comparison within a fold."""
    share = np.where(label > 0, 0.5 / (label > 0).sum(), 0.5 / (label < 0).sum())
    centred = rows - share @ rows
    spread = np.sqrt(share @ centred**2)
    scaled = centred / np.where(spread > 0, spread, 1)
    gram = (scaled * share[:, None]).T @ scaled + PENALTY * np.eye(rows.shape[1])
    return np.asarray(np.linalg.solve(gram, scaled.T @ (share * label))) / np.where(
        spread > 0, spread, 1
    )
