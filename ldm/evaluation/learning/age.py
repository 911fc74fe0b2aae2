"""Train on synthetic volumes, test on real ones (Esteban et al. 2017): predicting age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ldm.errors import LdmError
from ldm.evaluation.statistics import checks
from ldm.evaluation.statistics.intervals import Estimate, mean

PENALTIES = tuple(float(p) for p in np.logspace(0, 5, 11))
FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Errors on the same real people, in the unit of what is predicted.

    Attributes:
        real: mean absolute error after training on other real people (cross-validated).
        synthetic: after training on synthetic volumes alone.
        constant: of predicting everybody's mean, to compare with.
        trained_on: real people of a fold, and synthetic volumes.
    """

    real: Estimate
    synthetic: Estimate
    constant: Estimate
    trained_on: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        return {
            "real": self.real.to_json(),
            "synthetic": self.synthetic.to_json(),
            "constant": self.constant.to_json(),
            "trained_on": list(self.trained_on),
        }


def transfer(
    real: np.ndarray,
    real_values: np.ndarray,
    synthetic: np.ndarray,
    synthetic_values: np.ndarray,
    *,
    seed: int = 0,
) -> Transfer:
    """Ridge regression from features, its penalty chosen by cross-validation where it trains.

    Args:
        real, synthetic: (N, F) and (M, F) features.
        real_values: (N,) what real people are, such as age in years.
        synthetic_values: (M,) what was asked of the volumes.

    Raises:
        LdmError: fewer than 20 of either, or arrays that do not fit together.
    """
    checks.same_width(("real", real), ("synthetic", synthetic))
    checks.same_length(("real", real), ("what they are", real_values))
    checks.same_length(("synthetic", synthetic), ("what was asked", synthetic_values))
    if min(len(real), len(synthetic)) < 2 * FOLDS:
        raise LdmError(
            f"{len(real)} real and {len(synthetic)} synthetic volumes: expected at least "
            f"{2 * FOLDS} of each to learn from"
        )
    order = np.random.default_rng(seed).permutation(len(real))
    within = np.empty(len(real))
    for fold in np.array_split(order, FOLDS):
        rest = np.setdiff1d(order, fold)
        within[fold] = _ridge(real[rest], real_values[rest], seed)(real[fold])
    across = _ridge(synthetic, synthetic_values, seed)(real)
    middle = np.full(len(real), real_values.mean())
    errors = [np.abs(found - real_values) for found in (within, across, middle)]
    found = [mean(error, seed=seed) for error in errors]
    return Transfer(
        real=found[0],
        synthetic=found[1],
        constant=found[2],
        trained_on=(len(real) - len(real) // FOLDS, len(synthetic)),
    )


def _ridge(features: np.ndarray, values: np.ndarray, seed: int) -> Any:
    """A function from features (N, F) to predictions (N,)."""
    middle, std = features.mean(axis=0), features.std(axis=0) + 1e-9
    scaled, centre = (features - middle) / std, values.mean()
    folds = np.array_split(np.random.default_rng(seed).permutation(len(values)), 5)
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(values)), fold)
            weights = _solve(scaled[rest], values[rest] - centre, penalty)
            error += float(np.abs(scaled[fold] @ weights + centre - values[fold]).sum())
        errors.append(error)
    weights = _solve(scaled, values - centre, PENALTIES[int(np.argmin(errors))])
    return lambda others: (others - middle) / std @ weights + centre


def _solve(scaled: np.ndarray, values: np.ndarray, penalty: float) -> np.ndarray:
    count = scaled.shape[1]
    gram = scaled.T @ scaled + penalty * np.eye(count)
    return np.asarray(np.linalg.solve(gram, scaled.T @ values))
