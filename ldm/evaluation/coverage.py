"""Whether synthetic volumes lie where real ones do, and everywhere they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ldm.errors import LdmError
from ldm.evaluation.statistics import checks, intervals
from ldm.evaluation.statistics.intervals import Estimate
from ldm.evaluation.statistics.neighbours import blocks, nearest


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Fidelity (precision, density) and diversity (recall, coverage) at `k` neighbours.

    Attributes:
        precision: share of synthetic volumes within the k-neighbour ball of some real one.
        recall: share of real volumes within the k-neighbour ball of some synthetic one.
        density: mean number of real balls a synthetic volume lies in, over k; 1 is expected of
            equal distributions, more means that the volumes crowd where real ones are dense.
        coverage: share of real volumes with a synthetic one within their own ball.
        k: neighbours that make a ball.

    The intervals take the balls as given: they tell the chance in the volumes counted, not in
    the set that made the balls. Recall and coverage depend on the two sizes; compare releases at
    equal sizes, and with real against real.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate
    k: int

    def to_json(self) -> dict[str, Any]:
        """The four figures and k."""
        names = ("precision", "recall", "density", "coverage")
        return {**{name: getattr(self, name).to_json() for name in names}, "k": self.k}


def coverage(real: ArrayLike, synthetic: ArrayLike, *, k: int = 5, seed: int = 0) -> Coverage:
    """Precision and recall (Kynkäänniemi et al. 2019, eq. 1-3), density and coverage (Naeem et
    al. 2020, eq. 4 and 6), with Euclidean balls that reach to the k-th nearest of the same set.

    Memory is bounded: a block of distances at a time.

    Args:
        real: (N, D) features. synthetic: (M, D) features.
        k: 3 in Kynkäänniemi et al., 5 in Naeem et al.

    Raises:
        LdmError: k below 1 or not below both sizes, not finite, or features of different widths.
    """
    one = checks.features(real, "real", at_least=2)
    other = checks.features(synthetic, "synthetic", at_least=2)
    checks.same_width(("real", one), ("synthetic", other))
    n, m = len(one), len(other)
    if not 1 <= k < min(n, m):
        raise LdmError(f"k = {k} of {n} real and {m} synthetic volumes: expected 1 to fewer")
    reach_real = nearest(one, one, k, exclude_self=True).distances[:, -1]
    reach_synthetic = nearest(other, other, k, exclude_self=True).distances[:, -1]
    holding = np.zeros(m, dtype=np.int64)  # of each synthetic volume, the real balls it lies in
    covered = np.zeros(n, dtype=bool)  # real balls with a synthetic volume in them
    recalled = np.zeros(n, dtype=bool)  # real volumes in a synthetic ball
    for rows, distance in blocks(one, other):
        within = distance <= reach_real[rows, None]
        holding += within.sum(axis=0)
        covered[rows] = within.any(axis=1)
        recalled[rows] = (distance <= reach_synthetic).any(axis=1)
    return Coverage(
        precision=intervals.proportion(int((holding > 0).sum()), m),
        recall=intervals.proportion(int(recalled.sum()), n),
        density=_mean(holding / k, seed),
        coverage=intervals.proportion(int(covered.sum()), n),
        k=k,
    )


def _mean(values: np.ndarray, seed: int) -> Estimate:
    return intervals.bootstrap(
        lambda x: float(x.mean()), values, method="percentile", draws=1000, seed=seed
    )
