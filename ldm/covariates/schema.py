"""What a model is conditioned on: an ordered schema of covariates."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ldm.covariates.covariate import ONE_HOT, Covariate, Row, is_missing
from ldm.covariates.names import hint
from ldm.errors import LdmError

MOST_COVARIATES = 100


@dataclass(frozen=True)
class CovariateSchema:
    """The covariates of a model, in the order in which the network receives them.

    An unconditional model has none (`UNCONDITIONAL`).

    Raises:
        LdmError: two of one name.
    """

    covariates: tuple[Covariate, ...]

    def __post_init__(self) -> None:
        if len(self.covariates) > MOST_COVARIATES:
            raise LdmError(
                f"covariate schema: {len(self)} covariates, expected at most {MOST_COVARIATES}"
            )
        if len(set(self.names)) != len(self.names):
            raise LdmError(f"covariate schema: a name occurs twice in {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the network's order."""
        return tuple(covariate.name for covariate in self.covariates)

    @property
    def continuous(self) -> tuple[Covariate, ...]:
        """Those whose values are numbers."""
        return tuple(c for c in self.covariates if c.is_continuous)

    @property
    def categorical(self) -> tuple[Covariate, ...]:
        """Those whose values are levels."""
        return tuple(c for c in self.covariates if not c.is_continuous)

    def __len__(self) -> int:
        return len(self.covariates)

    def __getitem__(self, name: str) -> Covariate:
        """The covariate of that name.

        Raises:
            LdmError: no such covariate; the message names the closest.
        """
        for covariate in self.covariates:
            if covariate.name == name:
                return covariate
        if not self.covariates:
            raise LdmError(f"unknown covariate {name!r}: this model is unconditional, it has none")
        raise LdmError(
            f"unknown covariate {name!r}: {hint(name, self.names)}"
            f"this model has {', '.join(self.names)}"
        )

    def validate(self, row: Mapping[str, object], *, partial: bool = False) -> Row:
        """`row` checked, as floats and level names, in the schema's order.

        Args:
            row: physical values by name.
            partial: whether covariates may be missing from it.

        Raises:
            LdmError: an unknown or missing name, an unknown level, a number that is not finite.
        """
        for name in row:
            self[name]
        missing = [name for name in self.names if name not in row]
        if missing and not partial:
            raise LdmError(
                f"covariate {', '.join(missing)} missing: expected {', '.join(self.names)}"
            )
        return {c.name: c.parse(row[c.name]) for c in self.covariates if c.name in row}

    def parse_fixed(self, texts: Iterable[str]) -> Row:
        """The values of options such as `age=70` or `sex=F`.

        Raises:
            LdmError: not of the form name=value, a name given twice, or a bad name or value.
        """
        fixed: Row = {}
        for text in texts:
            name, equals, value = (part.strip() for part in text.partition("="))
            if not (equals and name and value):
                raise LdmError(f"fixed covariate {text!r}: expected name=value, such as age=70")
            if name in fixed:
                raise LdmError(f"covariate {name} is fixed twice: give it once")
            fixed[name] = self[name].parse(value)
        return self.validate(fixed, partial=True)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the network's inputs, W in all; one-hot covariates have several."""
        return tuple(name for covariate in self.covariates for name in covariate.inputs)

    def scale(self, row: Mapping[str, object]) -> np.ndarray:
        """The complete `row` as the network's input, (W,) float32."""
        return self.scale_known(self.validate(row))

    def scale_known(self, row: Mapping[str, object]) -> np.ndarray:
        """`row` as the network's input, (W,) float32; NaN for what is missing from it or None."""
        numbers: list[float] = []
        for c in self.covariates:
            value = row.get(c.name)
            numbers += [math.nan] * len(c.inputs) if is_missing(value) else c.code(value)
        return np.array(numbers, dtype=np.float32)

    def unscale(self, scaled: Sequence[float] | np.ndarray) -> Row:
        """The inverse of `scale`: (W,) to physical values.

        Raises:
            LdmError: not one value for each of `inputs`.
        """
        if np.shape(scaled) != (len(self.inputs),):
            raise LdmError(
                f"scaled covariates of shape {np.shape(scaled)}: expected ({len(self.inputs)},), "
                f"one for each of {', '.join(self.inputs)}"
            )
        row, start = {}, 0
        for c in self.covariates:
            end = start + len(c.inputs)
            row[c.name] = c.decode(np.asarray(scaled)[start:end].tolist())
            start = end
        return row

    def one_hot(self) -> CovariateSchema:
        """The schema with more than two levels one-hot, where nothing else is said of a coding.

        One number would set the levels in an order, and one of them midway between two others.
        """
        return CovariateSchema(
            tuple(
                replace(c, coding=ONE_HOT) if len(c.levels) > 2 and not c.coding else c
                for c in self.covariates
            )
        )

    def is_extrapolated(self, row: Mapping[str, object]) -> bool:
        """Whether any continuous value of `row` lies beyond the schema's range."""
        return any(self[name].is_extrapolated(value) for name, value in row.items())

    def to_json(self) -> dict[str, Any]:
        """The schema as JSON values."""
        return {"covariates": [covariate.to_json() for covariate in self.covariates]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CovariateSchema:
        """The inverse of `to_json`.

        Raises:
            LdmError: a field is missing, unknown or wrong.
        """
        entries = document.get("covariates") if isinstance(document, Mapping) else None
        if not isinstance(entries, (list, tuple)):
            raise LdmError(
                'covariate schema unreadable: expected {"covariates": [{"name": ...}, ...]}'
            )
        found = []
        for number, entry in enumerate(entries, 1):
            try:
                if not isinstance(entry, Mapping):
                    raise LdmError(f"{entry!a:.60}, expected an object")
                found.append(Covariate.from_json(entry))
            except LdmError as error:
                said = str(error)
                if said.startswith("covariate "):
                    raise
                raise LdmError(f"covariate schema unreadable: covariate {number}: {said}") from None
            except (TypeError, ValueError, AttributeError) as error:
                raise LdmError(f"covariate schema unreadable: {ascii(error)[:200]}") from None
        return cls(tuple(found))

    @property
    def fingerprint(self) -> str:
        """sha256, hexadecimal, of the schema's canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


# The schema of a model that takes no covariates.
UNCONDITIONAL = CovariateSchema(())

# The four covariates of Pinaya et al. 2022 and their UK Biobank ranges (arXiv 2209.07162, sec. 2).
PAPER_SCHEMA = CovariateSchema(
    (
        Covariate(
            name="sex", kind="categorical", levels=("F", "M"), description="F female, M male"
        ),
        Covariate(name="age", unit="year", minimum=44, maximum=82, description="age at the scan"),
        Covariate(
            name="ventricular_volume",
            unit="mm3",
            minimum=6_995.68,
            maximum=171_375,
            description="cerebrospinal fluid of the lateral ventricles, not normalised",
        ),
        Covariate(
            name="brain_volume",
            unit="mm3",
            minimum=1_144_240,
            maximum=1_793_910,
            description="grey and white matter, normalised for head size",
        ),
    )
)
