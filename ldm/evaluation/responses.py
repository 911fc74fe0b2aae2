"""What each asked covariate moves, the others held: a measured one on all asked ones at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ldm.errors import LdmError
from ldm.evaluation.statistics import checks
from ldm.evaluation.statistics.intervals import CONFIDENCE, Estimate


@dataclass(frozen=True, kw_only=True)
class Response:
    """A measured covariate's plane over all asked ones, each scaled to 0..1.

    Attributes:
        constant: measured where all are at the lower end of their range, in its unit.
        effects: by the asked covariate, how much it moves the measured one over its whole range.
        scatter: standard deviation about the plane, in its unit.
        n: volumes.
    """

    constant: Estimate
    effects: Mapping[str, Estimate]
    scatter: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Constant, effects by name, scatter and n."""
        return {
            "constant": self.constant.to_json(),
            "effects": {name: effect.to_json() for name, effect in self.effects.items()},
            "scatter": float(f"{self.scatter:.6g}"),
            "n": self.n,
        }


def response(asked: Mapping[str, ArrayLike], measured: ArrayLike) -> Response:
    """By least squares; intervals by White's covariance HC3, which large leverage does not fool.

    Source: MacKinnon & White 1985, J. Econometrics 29:305, eq. 12.

    Args:
        asked: (N,) of each covariate, scaled to 0..1.
        measured: (N,), in its unit.

    Raises:
        LdmError: fewer than two volumes a coefficient, columns that are not finite or of different
            lengths, or asked values of which one follows from the others.
    """
    from scipy import stats

    y = checks.vector(measured, "measured", at_least=2 * (len(asked) + 1))
    columns = {name: checks.vector(values, name) for name, values in asked.items()}
    n = checks.same_length(("measured", y), *columns.items())
    design = np.column_stack([*columns.values(), np.ones(n)])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise LdmError(f"asked {', '.join(columns)}: one of them follows from the others")
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ (design.T @ y)
    rest = y - design @ found
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    weighed = design * (rest / np.maximum(1 - leverage, 1e-12))[:, None]
    spread = np.sqrt(np.diag(inverse @ (weighed.T @ weighed) @ inverse))
    free = n - design.shape[1]
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, free)) * spread
    *effects, constant = (
        Estimate(value=float(v), low=float(v - r), high=float(v + r), n=n)
        for v, r in zip(found, reach, strict=True)
    )
    return Response(
        constant=constant,
        effects=dict(zip(columns, effects, strict=True)),
        scatter=float(np.sqrt(rest @ rest / free)),
        n=n,
    )
