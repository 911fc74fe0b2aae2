"""The values of one covariate, over all participants: read, converted, and refused where no person
has them, where they are no level, or where one is in another unit than the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from ldm.covariates import Covariate
from ldm.covariates.covariate import Value
from ldm.covariates.plausible import expected, implausible, is_plausible, meant_unit, slips
from ldm.covariates.units import converted, factor, is_no_unit
from ldm.errors import LdmError
from ray_jobs.errors import JobError
from ray_jobs.preparation.bids.reading import Reading, alike

# How a table says that a value is not there.
_MISSING = frozenset(
    {"", "n/a", "na", "n.a.", "n.a", "nan", "none", "null", "nil", "-", "--", ".", "?"}
    | {"#n/a", "#null!", "missing", "unknown", "not available"}
)


@dataclass(frozen=True, kw_only=True)
class Values:
    """One covariate of all participants.

    Attributes:
        known: by participant, in the covariate's unit, or a level.
        missing: what the table has in place of one, by participant.
        reasons: why a value cannot be used, by participant.
        note: what was done to the column, for the user; "" for nothing.
    """

    known: dict[str, Value]
    missing: dict[str, str]
    reasons: dict[str, str]
    note: str = ""


def is_missing(text: str) -> bool:
    """Whether a cell says that a value is not there."""
    return text.strip().casefold() in _MISSING


def read_values(
    covariate: Covariate,
    texts: Mapping[str, str],
    about: Mapping[str, Any],
    reading: Reading,
    where: str,
) -> Values:
    """The covariate's values from the texts of its column.

    Args:
        texts: the column's cells, by participant.
        about: what participants.json says of the column.
        reading: what the user says of the table.
        where: what the table and the column are called, for messages.

    Raises:
        JobError: a unit that does not fit, or more than half of the values are none of a person's
            or no level.
    """
    missing = {
        name: text
        for name, text in texts.items()
        if is_missing(text) and not _is_level(covariate, text, reading)
    }
    there = {name: text for name, text in texts.items() if name not in missing}
    if covariate.is_continuous:
        return _numbers(covariate, there, missing, about, reading, where)
    return _levels(covariate, there, missing, about, reading, where)


def _numbers(
    covariate: Covariate,
    texts: Mapping[str, str],
    missing: dict[str, str],
    about: Mapping[str, Any],
    reading: Reading,
    where: str,
) -> Values:
    unit, by, note = _conversion(covariate, about, reading, where)
    known: dict[str, Value] = {}
    reasons: dict[str, str] = {}
    wrong: dict[str, float] = {}
    for name, text in texts.items():
        try:
            value = converted(float(covariate.parse(text)), by)
        except LdmError as error:
            reasons[name] = str(error)
            continue
        if is_plausible(covariate, value):
            known[name] = value
        else:
            wrong[name] = value
            reasons[name] = implausible(covariate, value)
            if by != 1.0:
                reasons[name] += f" (from {text} {unit})"
    if len(wrong) > len(known) and len(texts) > 1:
        raise JobError(
            _most_are_wrong(covariate, wrong, len(texts), unit if by != 1.0 else "", where)
        )
    if not known and not wrong and len(texts) > 1:
        raise JobError(
            f"{where}: no number in {len(texts)} participants: {reasons[next(iter(texts))]}"
        )
    for name, told in slips(covariate, {n: float(v) for n, v in known.items()}).items():
        reasons[name] = told
        del known[name]
    return Values(known=known, missing=missing, reasons=reasons, note=note)


def _conversion(
    covariate: Covariate, about: Mapping[str, Any], reading: Reading, where: str
) -> tuple[str, float, str]:
    """The column's unit, what its numbers are multiplied by, and what is told of that."""
    name = covariate.name
    if name in reading.units:
        unit, source = reading.units[name], "--units"
    else:
        unit, source = about.get("Units", ""), "participants.json"
    if not isinstance(unit, str):
        raise JobError(f"{where}: participants.json: Units {unit!a:.60}, expected text")
    if not covariate.unit or is_no_unit(unit):
        return covariate.unit, 1.0, ""
    try:
        by = factor(unit, covariate.unit)
    except LdmError as error:
        raise JobError(
            f"{where}: {source} has {error}; say what it is in with --units {name}=UNIT"
        ) from None
    note = f"{name}: from {unit} ({source}) to {covariate.unit}" if by != 1.0 else ""
    return unit, by, note


def _most_are_wrong(
    covariate: Covariate, wrong: Mapping[str, float], count: int, unit: str, where: str
) -> str:
    first, value = next(iter(wrong.items()))
    low, high = min(wrong.values()), max(wrong.values())
    said = (
        f"{where}: {covariate.name} is {low:g} to {high:g} {covariate.unit} in {len(wrong)} of "
        f"{count} participants (first {first}: {value:g}), expected {expected(covariate)}"
    )
    if unit:
        return (
            f"{said}; they were read as {unit}: say --units {covariate.name}=UNIT if they are not"
        )
    meant = meant_unit(covariate, median(wrong.values()))
    if meant:
        return (
            f'{said}; if they are in {meant}, say --units {covariate.name}={meant}, or "Units" in '
            "participants.json"
        )
    return f'{said}; a schema given with --covariates may tell others, "plausible": [least, most]'


def _levels(
    covariate: Covariate,
    texts: Mapping[str, str],
    missing: dict[str, str],
    about: Mapping[str, Any],
    reading: Reading,
    where: str,
) -> Values:
    described = _described(about, where)
    known: dict[str, Value] = {}
    reasons: dict[str, str] = {}
    meant: dict[str, str] = {}
    for name, text in texts.items():
        level = _level(covariate, text, described, reading, where)
        if level is None:
            reasons[name] = (
                f"{covariate.name} is {text!r}: expected one of {', '.join(covariate.levels)}"
            )
        else:
            known[name] = level
            meant[text] = level
    unknown = sorted({texts[name] for name in reasons})
    if unknown:
        pairs = zip(unknown, (*covariate.levels, *["LEVEL"] * len(unknown)), strict=False)
        example = ",".join(f"{text}:{level}" for text, level in list(pairs)[:4])
        advice = f"say which is which, as in --levels {covariate.name}={example}"
        if len(reasons) > len(known) and len(texts) > 1:
            raise JobError(
                f"{where}: {covariate.name} is {', '.join(map(repr, unknown[:6]))} in "
                f"{len(reasons)} of {len(texts)} participants, expected "
                f'{", ".join(covariate.levels)}; {advice}, or "Levels" in participants.json'
            )
    told = [f"{text} is {level}" for text, level in sorted(meant.items())]
    plain = all(_parsed(covariate, text) == level for text, level in meant.items())
    note = "" if plain else f"{covariate.name}: {', '.join(told)}"
    return Values(known=known, missing=missing, reasons=reasons, note=note)


def _level(
    covariate: Covariate, text: str, described: Mapping[str, str], reading: Reading, where: str
) -> str | None:
    """The level that a text stands for: as the user says, as it is, or as participants.json says.

    Raises:
        JobError: participants.json says another one than the text does.
    """
    if (told := reading.level(covariate, text)) is not None:
        return told
    own = _parsed(covariate, text)
    words = next((words for key, words in described.items() if alike(key, text)), None)
    if words is not None and (other := _parsed(covariate, words)) is not None:
        if own not in (None, other):
            raise JobError(
                f"{where}: {text!r} is {own}, participants.json calls it {words!a:.60}; say which "
                f"it is with --levels {covariate.name}={text}:{own}"
            )
        return other
    return own


def _is_level(covariate: Covariate, text: str, reading: Reading) -> bool:
    """Whether a text that says "none" is a level of that name."""
    if covariate.is_continuous or not text:
        return False
    return reading.level(covariate, text) is not None or _parsed(covariate, text) is not None


def _parsed(covariate: Covariate, text: str) -> str | None:
    for level in covariate.levels:
        if alike(level, text):
            return level
    try:
        return str(covariate.parse(text))
    except LdmError:
        return None


def _described(about: Mapping[str, Any], where: str) -> dict[str, str]:
    """What participants.json says that each text means; text, or an object with a Description."""
    levels = about.get("Levels", {})
    if not isinstance(levels, Mapping):
        raise JobError(f"{where}: participants.json: Levels {levels!a:.60}, expected an object")
    found = {}
    for key, words in levels.items():
        if isinstance(words, Mapping):
            words = words.get("Description", "")
        found[str(key)] = str(words)
    return found
