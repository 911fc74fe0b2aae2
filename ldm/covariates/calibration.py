"""What a network is told instead of what is asked, so that its volumes follow as people do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ldm.covariates.schema import CovariateSchema
from ldm.errors import LdmError

LARGEST = 4.0  # a network that must be told more than that many times as far is trained further
_DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class Plane:
    """constant + the sum of weights x scaled covariates.

    Attributes:
        weights: by the name of the network's input, `CovariateSchema.inputs`: the covariate's, or
            `name=level` of one that is coded one-hot.
    """

    constant: float
    weights: Mapping[str, float]

    def __call__(self, scaled: Mapping[str, float]) -> float:
        found = self.constant
        for name, weight in self.weights.items():
            found += weight * scaled[name]
        return found


@dataclass(frozen=True)
class Calibration:
    """For some continuous covariates, what the network is told: a plane over all that are asked.

    A network that saw few people answers a covariate more weakly than people do, and mixes it up
    with others that came along with it. Told the inverse of its answer it gives what was asked
    (classical calibration, multivariate: Brown 1982, J. R. Stat. Soc. B 44, 287, section 2).
    Releases, their manifests and quality figures know only what was asked.

    Attributes:
        planes: by the covariate's name; scaled values to the scaled value that is told.

    Raises:
        LdmError: a weight or constant beyond `LARGEST`, or one that is no number.
    """

    planes: Mapping[str, Plane] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, plane in self.planes.items():
            for of, value in {"the constant": plane.constant, **plane.weights}.items():
                if not abs(value) <= LARGEST:
                    raise LdmError(
                        f"calibration of {name}: {of} counts {value:.3g} times, at most "
                        f"{LARGEST:g} are expected; go a smaller share of the way, train the "
                        f"model further, or leave {name} out"
                    )

    def conditions(self, schema: CovariateSchema, row: Mapping[str, object]) -> np.ndarray:
        """The complete `row` as the network's input, (W,) float32; `schema.scale` of what is told.

        Raises:
            LdmError: a covariate that the schema refuses.
        """
        parsed = schema.validate(row)
        scaled = {
            name: number
            for c in schema.covariates
            for name, number in zip(c.inputs, c.code(parsed[c.name]), strict=True)
        }
        told = [self.planes[n](scaled) if n in self.planes else x for n, x in scaled.items()]
        return np.array(told, dtype=np.float32)

    def after(self, first: Calibration, schema: CovariateSchema) -> Calibration:
        """This calibration of what `first` gives."""
        outer, inner = self._affine(schema), first._affine(schema)
        return _calibration(outer @ inner, schema, {*self.planes, *first.planes})

    def to_json(self) -> dict[str, Any]:
        """Constant and weights, by the covariate's name."""
        return {
            name: {"constant": plane.constant, "weights": dict(plane.weights)}
            for name, plane in self.planes.items()
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], schema: CovariateSchema) -> Calibration:
        """Raises LdmError, KeyError, TypeError, ValueError or AttributeError where it is none."""
        planes = {}
        for name, plane in document.items():
            if not schema[name].is_continuous:
                raise LdmError(f"calibration of {name}, which has levels; expected a number's")
            for of in plane["weights"]:
                if of not in schema.inputs:
                    raise LdmError(
                        f"calibration of {name} by {schema[of].name}, no input of its own"
                    )
            weights = {of: float(x) for of, x in plane["weights"].items()}
            planes[name] = Plane(constant=float(plane["constant"]), weights=weights)
        return cls(planes)

    def _affine(self, schema: CovariateSchema) -> np.ndarray:
        """(W + 1, W + 1): scaled covariates and a 1, to those that are told and a 1."""
        matrix = np.eye(len(schema.inputs) + 1)
        for name, plane in self.planes.items():
            matrix[schema.inputs.index(name)] = _row(plane, schema)
        return matrix


def calibrate(
    schema: CovariateSchema,
    answers: Mapping[str, Plane],
    wanted: Mapping[str, Plane],
    *,
    share: float = 1.0,
) -> Calibration:
    """What to tell a model, so that its answer is the one that is wanted, whatever is asked.

    Far from what it was trained on a network draws less well: a part may be the better bargain.

    Args:
        answers: of each covariate to calibrate, how its measured value, scaled, follows all asked
            ones in the model's volumes.
        wanted: the same, as it should be. A tool with a slope of its own below 1 must find that
            slope in volumes which are just as asked.
        share: of the way from telling what is asked, 0 to 1.

    Raises:
        LdmError: answers that cannot be told apart, or so weak that `LARGEST` is passed.
    """
    names = [name for name in schema.inputs if name in answers]
    told = [schema.inputs.index(name) for name in names]
    answer = np.array([_row(answers[name], schema) for name in names])
    want = np.array([_row(wanted[name], schema) for name in names])
    for position in range(len(schema.inputs) + 1):
        if position not in told:  # what is told as it is asked answers for itself
            want[:, position] -= answer[:, position]
    if np.linalg.cond(answer[:, told]) > 1e3:
        raise LdmError(
            f"the volumes answer {' and '.join(names)} hardly, or both alike: nothing to be told "
            "would set that right; train the model further"
        )
    matrix = np.eye(len(schema.inputs) + 1)
    matrix[told] += share * (np.linalg.solve(answer[:, told], want) - matrix[told])
    return _calibration(matrix, schema, set(names))


def _row(plane: Plane, schema: CovariateSchema) -> list[float]:
    """(W + 1): its weights in the order of the network's inputs, and the constant."""
    return [*(plane.weights.get(of, 0.0) for of in schema.inputs), plane.constant]


def _calibration(matrix: np.ndarray, schema: CovariateSchema, names: set[str]) -> Calibration:
    planes = {}
    for name, row in zip(schema.inputs, matrix[:-1], strict=True):
        if name in names:
            *weights, constant = (round(float(x), _DECIMALS) for x in row)
            planes[name] = Plane(
                constant=constant, weights=dict(zip(schema.inputs, weights, strict=True))
            )
    return Calibration(planes)
