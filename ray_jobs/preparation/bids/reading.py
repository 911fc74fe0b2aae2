"""How a cohort's table is read: which column is what, what its texts and numbers mean."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ldm.covariates import Covariate, CovariateSchema
from ldm.covariates.names import hint
from ldm.covariates.units import factor
from ldm.errors import LdmError
from ray_jobs.errors import JobError

PARTICIPANT = "participant_id"
# Where a table has a row a session, rather than a row a participant.
SESSION = "session_id"
# Read where volumes are normalised for head size.
INTRACRANIAL = "intracranial_volume"
# Read beside the covariates, for normalisation, which judges what heads there are.
HEAD = Covariate(name=INTRACRANIAL, unit="mm3", maximum=2e6, plausible=(-1e299, 1e299))


class Missing(StrEnum):
    """What becomes of a subject who lacks a covariate."""

    DROP_SUBJECT = "drop-subject"
    LEAVE_OUT = "leave-out"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the user says of the table, by the covariate's name.

    Attributes:
        columns: the column that holds it.
        levels: the level that each text stands for.
        units: the unit of the column, whatever participants.json says.
        missing: what becomes of a subject who lacks one.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    missing: Missing = Missing.DROP_SUBJECT

    @classmethod
    def of(cls, args: argparse.Namespace, schema: CovariateSchema) -> Reading:
        """What `args` say, checked against the covariates.

        Raises:
            JobError: not of the form that is expected, no such covariate, level or unit, or one
                thing said twice.
        """
        columns = _pairs("--column", args.column, "COLUMN", "sex=gender")
        for name in columns:
            _check_name("--column", name, (*schema.names, PARTICIPANT, SESSION, INTRACRANIAL))
        units = _pairs("--units", args.units, "UNIT", "age=month")
        numbers = {c.name: c for c in (*schema.continuous, HEAD)}
        for name, unit in units.items():
            _check_name("--units", name, tuple(numbers))
            try:
                factor(unit, numbers[name].unit)
            except LdmError as error:
                raise JobError(f"--units {name}={unit}: {error}") from None
        return cls(
            columns=columns,
            levels=_levels(args.levels, schema),
            units=units,
            missing=Missing(args.missing),
        )

    def level(self, covariate: Covariate, text: str) -> str | None:
        """The level that the user says a text stands for; None where nothing is said of it."""
        for key, level in self.levels.get(covariate.name, {}).items():
            if alike(key, text):
                return level
        return None


def alike(one: str, other: str) -> bool:
    """Whether two texts say the same: in any case, and `1` as `1.0`.

    >>> alike("Male", " male"), alike("1", "1.0"), alike("1", "2")
    (True, True, False)
    """
    if one.strip().casefold() == other.strip().casefold():
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _levels(texts: list[str], schema: CovariateSchema) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    form = "NAME=TEXT:LEVEL,TEXT:LEVEL, such as sex=0:F,1:M"
    for option in texts:
        name, equals, rest = (part.strip() for part in option.partition("="))
        if not (equals and name and rest):
            raise JobError(f"--levels {option}: expected {form}")
        _check_name("--levels", name, tuple(c.name for c in schema.categorical))
        own = found.setdefault(name, {})
        for pair in rest.split(","):
            text, colon, level = (part.strip() for part in pair.rpartition(":"))
            if not (colon and text and level):
                raise JobError(f"--levels {option}: expected {form}")
            if any(alike(text, other) for other in own):
                raise JobError(f"--levels {option}: {text!r} is said twice")
            try:
                own[text] = str(schema[name].parse(level))
            except LdmError as error:
                raise JobError(f"--levels {option}: {error}") from None
    return found


def _pairs(option: str, texts: list[str], what: str, example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and name and value):
            raise JobError(f"{option} {text}: expected NAME={what}, such as {example}")
        if name in found:
            raise JobError(f"{option} {text}: {name} is given twice; give it once")
        found[name] = value
    return found


def _check_name(option: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        said = ", ".join(names) or "none with levels"
        raise JobError(f"{option} {name}=...: {hint(name, names)}expected one of {said}")
