"""One covariate: its name, unit, kind and range, and how the model sees its values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from ldm.errors import LdmError
from ldm.untrusted import is_text

Value = float | str
Row = dict[str, Value]

MOST = 1e300  # of a range's ends, in any unit: the range itself is finite too
MOST_LEVELS = 1000
MOST_INPUTS = 100  # levels of one that is coded one-hot: each is an input of the network
ONE_HOT, ORDERED = "one-hot", "ordered"

# BIDS lets a participants.tsv spell sex in full (BIDS 1.10, participants file).
_SPELLED = {"female": "f", "male": "m", "f": "female", "m": "male"}


@dataclass(frozen=True, kw_only=True)
class Covariate:
    """One covariate of a schema.

    Attributes:
        name: column name, also the keyword of `Model.sample`.
        unit: unit of the physical value ("year", "mm3"), empty for none.
        kind: "continuous" (a number) or "categorical" (one of `levels`).
        minimum, maximum: the physical values that scale to 0 and 1. They bound nothing: a value
            beyond them is an extrapolation, and legal. A categorical covariate keeps 0 and 1.
        levels: the names a categorical value may have, in order.
        description: meaning, in words.
        coding: how the network receives a categorical value: "one-hot", an input a level, of which
            one is 1 and the others 0; "ordered", or nothing as in earlier models, one number, the
            levels evenly spread over [0, 1].
        plausible: the least and the greatest physical value that a person can have, where that
            is not known from name and unit; see `ldm.covariates.plausible`.

    Raises:
        LdmError: an empty name, an unknown kind, a range that is empty or not finite, or levels
            that do not fit the kind.
    """

    name: str
    unit: str = ""
    kind: Literal["continuous", "categorical"] = "continuous"
    minimum: float = 0.0
    maximum: float = 1.0
    levels: tuple[str, ...] = ()
    description: str = ""
    coding: str = ""
    plausible: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier() or len(self.name) > 100:
            raise LdmError(f"covariate name {self.name!a:.60}: expected letters, digits and _")
        if not all(map(is_text, (self.unit, self.description, *self.levels))):
            raise LdmError(
                f"covariate {self.name}: unit, levels and description must be plain text"
            )
        if self.kind not in ("continuous", "categorical"):
            raise LdmError(
                f"covariate {self.name}: kind {self.kind!a:.60}, expected continuous or categorical"
            )
        ends = (self.minimum, self.maximum)
        if not all(isinstance(end, (int, float)) and abs(end) < MOST for end in ends):
            raise LdmError(f"covariate {self.name}: its range must be finite numbers")
        if not self.minimum < self.maximum:
            raise LdmError(
                f"covariate {self.name}: range {self.minimum:g}..{self.maximum:g} is empty, "
                "expected minimum < maximum"
            )
        if len(self.levels) > MOST_LEVELS:
            raise LdmError(
                f"covariate {self.name}: {len(self.levels)} levels, at most {MOST_LEVELS}"
            )
        if self.kind == "continuous" and self.levels:
            raise LdmError(f"covariate {self.name}: a continuous covariate has no levels")
        if self.kind == "categorical" and not self.levels:
            raise LdmError(
                f"covariate {self.name}: a categorical covariate without levels; expected two or "
                'more, such as "levels": ["CN", "MCI", "AD"]'
            )
        if self.kind == "categorical" and len(set(self.levels)) != max(2, len(self.levels)):
            raise LdmError(
                f"covariate {self.name}: levels {str(list(self.levels))[:80]}, expected two or "
                "more, all different"
            )
        self._check_coding()
        self._check_plausible()

    def _check_coding(self) -> None:
        if self.coding not in ("", ONE_HOT, ORDERED):
            raise LdmError(
                f"covariate {self.name}: coding {self.coding!a:.60}, expected {ONE_HOT} or "
                f"{ORDERED}"
            )
        if self.coding and self.kind == "continuous":
            raise LdmError(f"covariate {self.name}: only one with levels has a coding")
        if self.is_one_hot and len(self.levels) > MOST_INPUTS:
            raise LdmError(
                f"covariate {self.name}: {len(self.levels)} levels coded {ONE_HOT}, at most "
                f"{MOST_INPUTS}"
            )

    def _check_plausible(self) -> None:
        if self.plausible is None:
            return
        ends = self.plausible
        numbers = isinstance(ends, tuple) and all(
            isinstance(end, (int, float)) and not isinstance(end, bool) and abs(end) < MOST
            for end in ends
        )
        if self.kind != "continuous" or not numbers or len(ends) != 2 or not ends[0] < ends[1]:
            raise LdmError(
                f"covariate {self.name}: plausible {ends!a:.60}, expected two numbers, the least "
                "and the greatest that a person can have, of one whose values are numbers"
            )

    @property
    def is_continuous(self) -> bool:
        """Whether its values are numbers."""
        return self.kind == "continuous"

    @property
    def is_one_hot(self) -> bool:
        """Whether each of its levels is an input of the network."""
        return self.coding == ONE_HOT

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the network's inputs for it: its own, or `name=level` for each level."""
        if self.is_one_hot:
            return tuple(f"{self.name}={level}" for level in self.levels)
        return (self.name,)

    def parse(self, value: object) -> Value:
        """`value`, from a table, a command line or Python, as a float or as one of the levels.

        Raises:
            LdmError: not a finite number, or no such level.
        """
        if not self.is_continuous:
            return self._parse_level(value)
        try:
            # Python's own "1_000" is no number of a table.
            number = math.nan if "_" in str(value) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            unit = f" in {self.unit}" if self.unit else ""
            comma = ", with a point for the decimals" if _with_comma(value) else ""
            raise LdmError(f"{self.name} is {value!r}: expected a finite number{unit}{comma}")
        return number

    def _parse_level(self, value: object) -> str:
        text = str(value).strip()
        folded = text.casefold()
        for spelled in (folded, _SPELLED.get(folded, folded)):
            if text in self.levels:
                return text
            for level in self.levels:
                if spelled == level.casefold():
                    return level
        raise LdmError(f"{self.name} is {value!r}: expected one of {', '.join(self.levels)}")

    def scale(self, value: object) -> float:
        """The value as one number: 0..1 over the range, or over the levels in order.

        It is what the network receives, but where `coding` is "one-hot"; see `code`.
        """
        parsed = self.parse(value)
        if isinstance(parsed, str):
            return self.levels.index(parsed) / (len(self.levels) - 1)
        return (parsed - self.minimum) / (self.maximum - self.minimum)

    def code(self, value: object) -> tuple[float, ...]:
        """The value as the network receives it, a number for each of `inputs`."""
        if not self.is_one_hot:
            return (self.scale(value),)
        parsed = self.parse(value)
        return tuple(float(level == parsed) for level in self.levels)

    def decode(self, code: Sequence[float]) -> Value:
        """The inverse of `code`; one with levels takes the nearest."""
        if self.is_one_hot:
            return self.levels[max(range(len(self.levels)), key=lambda place: float(code[place]))]
        return self.unscale(code[0])

    def unscale(self, scaled: float) -> Value:
        """The inverse of `scale`; a categorical one takes the nearest level."""
        if self.is_continuous:
            return self.minimum + float(scaled) * (self.maximum - self.minimum)
        last = len(self.levels) - 1
        return self.levels[min(last, max(0, round(float(scaled) * last)))]

    def is_extrapolated(self, value: object) -> bool:
        """Whether a continuous value lies beyond the range the model was trained on."""
        parsed = self.parse(value)
        return not isinstance(parsed, str) and not self.minimum <= parsed <= self.maximum

    def round(self, value: float) -> float:
        """A drawn value at a readable precision, about 1e-6 of the range (1 mm3, 0.0001 year)."""
        decimals = 5 - math.floor(math.log10(self.maximum - self.minimum))
        return round(float(value), decimals)

    def to_json(self) -> dict[str, Any]:
        """The fields, for `Covariate(**fields)` once levels are a tuple."""
        return {
            "name": self.name,
            "unit": self.unit,
            "kind": self.kind,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "levels": list(self.levels),
            "description": self.description,
            **({"coding": self.coding} if self.coding else {}),
            **({"plausible": list(self.plausible)} if self.plausible else {}),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Covariate:
        """The inverse of `to_json`; what is left out takes its default.

        Raises:
            LdmError: a field that is unknown, missing or wrong.
        """
        known = [field.name for field in fields(cls)]
        for name in entry:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise LdmError(f"unknown field {name!a:.60}: {hint}expected {', '.join(known)}")
        if "name" not in entry:
            raise LdmError("a covariate without a name")
        given = dict(entry)
        for name in ("levels", "plausible"):
            if given.get(name) is None:
                given.pop(name, None)
            elif not isinstance(given[name], (list, tuple)):
                raise LdmError(
                    f"covariate {entry['name']!a:.60}: {name} {given[name]!a:.60}, expected a list"
                )
            else:
                given[name] = tuple(given[name])
        return cls(**given)


def is_missing(value: object) -> bool:
    """Whether a value of a table stands for none: None, NaN, pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def _with_comma(value: object) -> bool:
    """Whether `value` would be a number with a point for its comma."""
    try:
        return (
            isinstance(value, str)
            and "," in value
            and math.isfinite(float(value.replace(",", ".")))
        )
    except ValueError:
        return False
