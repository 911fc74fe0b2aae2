"""Train on synthetic volumes, test on real ones: telling the tissue of a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldm.errors import LdmError
from ldm.evaluation.statistics.intervals import Estimate, mean

VOXELS = 400  # of a volume
BLURS = (1.0, 2.0, 4.0)  # deviations in voxels
FEATURES = 2 + len(BLURS) + 3
FEWEST = 10  # volumes to learn from, and real people to test on
_MOST_VOXELS = 100_000  # that a classifier is shown: more teach it no more
_TREES = {"max_iter": 60, "max_leaf_nodes": 31, "learning_rate": 0.15}


def voxels_of(image: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Voxels of a brain drawn by chance, what stands around each, and which tissue it is.

    Args:
        image: (X, Y, Z), background 0 and the brightest about 1.
        labels: (X, Y, Z) whole numbers, 0 background, on the same lattice.

    Returns:
        (VOXELS, FEATURES + 1) float16: the brightness, that of blurred images, the gradient of
        the first of them, the place in the lattice, and the label. A voxel may come twice.

    Raises:
        LdmError: no voxel has a label.
    """
    from scipy.ndimage import gaussian_filter

    places = np.flatnonzero(labels)
    if not len(places):
        raise LdmError("label map: background alone, so no tissue to learn")
    given = np.asarray(image, dtype=np.float32)
    drawn = np.random.default_rng(seed).choice(places, VOXELS)
    where = np.unravel_index(drawn, labels.shape)
    blurred = [gaussian_filter(given, blur) for blur in BLURS]
    steepness = np.sqrt(sum(g**2 for g in np.gradient(blurred[0])))
    columns = [one[where] for one in (given, *blurred, steepness)]
    columns += [place / side for place, side in zip(where, labels.shape, strict=True)]
    return np.stack([*columns, labels[where]], axis=1).astype(np.float16)


@dataclass(frozen=True, kw_only=True)
class TissueTransfer:
    """How well real people's tissue is told, on the same people: the mean over them of the mean
    Dice over tissues.

    Attributes:
        real: after training on other real people (two halves by turns).
        synthetic: after training on synthetic volumes alone.
        trained_on: real people of a half, and synthetic volumes.
    """

    real: Estimate
    synthetic: Estimate
    trained_on: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        return {
            "real": self.real.to_json(),
            "synthetic": self.synthetic.to_json(),
            "trained_on": list(self.trained_on),
        }


def tissue_transfer(
    real: np.ndarray, synthetic: np.ndarray, names: Sequence[str], *, seed: int = 0
) -> TissueTransfer:
    """Boosted trees that tell a voxel's tissue from what stands around it.

    Args:
        real, synthetic: (N, VOXELS, FEATURES + 1) and (M, ...), see `voxels_of`.
        names: of the labels, from 0, which is background and none to be told.

    Raises:
        LdmError: too few of either.
    """
    if min(len(real) // 2, len(synthetic)) < FEWEST:
        raise LdmError(
            f"{len(real)} real and {len(synthetic)} synthetic volumes: expected at least "
            f"{2 * FEWEST} and {FEWEST} to learn tissue from"
        )
    order = np.random.default_rng(seed).permutation(len(real))
    halves = order[::2], order[1::2]
    within = np.empty(len(real))
    for learnt, tested in (halves, halves[::-1]):
        tell = _classifier(real[learnt], seed)
        within[tested] = [_dice(tell, person, len(names)) for person in real[tested]]
    tell = _classifier(synthetic, seed)
    across = np.array([_dice(tell, person, len(names)) for person in real])
    return TissueTransfer(
        real=mean(within, seed=seed),
        synthetic=mean(across, seed=seed),
        trained_on=(len(halves[0]), len(synthetic)),
    )


def _classifier(volumes: np.ndarray, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = volumes.reshape(-1, volumes.shape[-1]).astype(np.float32)
    if len(rows) > _MOST_VOXELS:
        rows = np.random.default_rng(seed).choice(rows, _MOST_VOXELS, replace=False)
    trees = HistGradientBoostingClassifier(**_TREES, early_stopping=False, random_state=seed)
    return trees.fit(rows[:, :-1], rows[:, -1].astype(int))


def _dice(tell: Any, person: np.ndarray, count: int) -> float:
    """The mean over the tissues that the person has, or is said to have."""
    true = person[:, -1].astype(int)
    said = tell.predict(person[:, :-1].astype(np.float32))
    both = np.bincount(true[true == said], minlength=count)
    each = np.bincount(true, minlength=count) + np.bincount(said, minlength=count)
    there = each > 0
    return float((2 * both[there] / each[there]).mean())
