"""One covariate: its name, unit, kind and range, and how the model sees its values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ldm.errors import LdmError
from ldm.untrusted import is_text

Value = float | str
Row = dict[str, Value]

MOST = 1e300  # of a range's ends, in any unit: the range itself is finite too
MOST_LEVELS = 1000

# BIDS lets a participants.tsv spell sex in full (BIDS 1.10, participants file).
_SPELLED = {"female": "F", "male": "M"}


@dataclass(frozen=True, kw_only=True)
class Covariate:
    """One covariate of a schema.

    Attributes:
        name: column name, also the keyword of `Model.sample`.
        unit: unit of the physical value ("year", "mm3"), empty for none.
        kind: "continuous" (a number) or "categorical" (one of `levels`).
        minimum, maximum: the physical values that scale to 0 and 1. They bound nothing: a value
            beyond them is an extrapolation, and legal. A categorical covariate keeps 0 and 1.
        levels: the names a categorical value may have, in order; evenly spread over [0, 1].
        description: meaning, in words.

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
        if self.kind == "categorical" and len(set(self.levels)) != max(2, len(self.levels)):
            raise LdmError(
                f"covariate {self.name}: levels {str(list(self.levels))[:80]}, expected two or "
                "more, all different"
            )

    @property
    def is_continuous(self) -> bool:
        """Whether its values are numbers."""
        return self.kind == "continuous"

    def parse(self, value: object) -> Value:
        """`value`, from a table, a command line or Python, as a float or as one of the levels.

        Raises:
            LdmError: not a finite number, or no such level.
        """
        if not self.is_continuous:
            return self._parse_level(value)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            unit = f" in {self.unit}" if self.unit else ""
            raise LdmError(f"{self.name} is {value!r}: expected a finite number{unit}")
        return number

    def _parse_level(self, value: object) -> str:
        text = str(value).strip()
        text = _SPELLED.get(text.casefold(), text) if text not in self.levels else text
        for level in self.levels:
            if text.casefold() == level.casefold():
                return level
        raise LdmError(f"{self.name} is {value!r}: expected one of {', '.join(self.levels)}")

    def scale(self, value: object) -> float:
        """The value as the model sees it: 0..1 over the range, or over the levels in order."""
        parsed = self.parse(value)
        if isinstance(parsed, str):
            return self.levels.index(parsed) / (len(self.levels) - 1)
        return (parsed - self.minimum) / (self.maximum - self.minimum)

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
        }
