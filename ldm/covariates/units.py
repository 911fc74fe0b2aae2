"""Units of time, volume, length and mass as tables spell them, and how one becomes another."""

from __future__ import annotations

import re
import unicodedata

from ldm.errors import LdmError

# By the unit's usual name: what it measures, how many of the first one of its kind it is, and how
# tables spell it. A year is 365.25 days, a month a twelfth of it, as in UCUM.
_KNOWN: dict[str, tuple[str, float, str]] = {
    "year": ("time", 1.0, "year years yr yrs y a annum annus yo yearsold yearold"),
    "month": ("time", 1 / 12, "month months mo mos mon mth mths monthsold"),
    "week": ("time", 7 / 365.25, "week weeks wk wks w weeksold"),
    "day": ("time", 1 / 365.25, "day days d daysold"),
    "mm3": ("volume", 1.0, "mm3 mm^3 cumm ul \u03bcl microliter microlitre cubicmillimeter"),
    "cm3": ("volume", 1e3, "cm3 cm^3 cc ccm ml milliliter millilitre cubiccentimeter"),
    "litre": ("volume", 1e6, "l litre liter dm3 dm^3 cubicdecimeter"),
    "m3": ("volume", 1e9, "m3 m^3 cubicmeter"),
    "mm": ("length", 1.0, "mm millimeter millimetre"),
    "cm": ("length", 10.0, "cm centimeter centimetre"),
    "m": ("length", 1e3, "m meter metre"),
    "inch": ("length", 25.4, "inch inches in"),
    "g": ("mass", 1.0, "g gram gramme"),
    "kg": ("mass", 1e3, "kg kilogram kilogramme"),
    "lb": ("mass", 453.59237, "lb lbs pound"),
}
_MEANT = {spelling: unit for unit, (_, _, all_) in _KNOWN.items() for spelling in all_.split()}
# What a table writes where there is no unit to tell.
_NONE = frozenset({"", "n/a", "na", "none", "-", "1", "unitless", "arbitrary"})


def known_unit(text: str) -> str | None:
    """The usual name of the unit that `text` spells ("yrs", "mL", "mm^3"); None for no known one.

    >>> known_unit("Years"), known_unit("mm³"), known_unit("cubic millimetres"), known_unit("ell")
    ('year', 'mm3', 'mm3', None)
    """
    # Compatibility forms: a superscript 3 and the micro sign as plain ones.
    plain = unicodedata.normalize("NFKC", text).casefold().replace("**", "^")
    plain = re.sub(r"[\s._\[\]()]+", "", plain).replace("metre", "meter")
    for spelling in (plain, plain.removesuffix("s")):
        if spelling in _MEANT:
            return _MEANT[spelling]
    return None


def is_no_unit(text: str) -> bool:
    """Whether `text` says that there is no unit."""
    return text.strip().casefold() in _NONE


def factor(found: str, wanted: str) -> float:
    """What a number in the unit `found` is multiplied by, to be one in the unit `wanted`.

    >>> factor("mL", "mm3"), 738 * factor("months", "year")
    (1000.0, 61.5)

    Raises:
        LdmError: a unit that is not known, unless both are spelled alike, or of another kind.
    """
    if found.strip().casefold() == wanted.strip().casefold():
        return 1.0
    one, other = known_unit(found), known_unit(wanted)
    if one is None or other is None or _KNOWN[one][0] != _KNOWN[other][0]:
        convertible = [other, *alternatives(wanted)] if other else [wanted or "none"]
        raise LdmError(f"unit {found!r:.60}: expected {' or '.join(convertible)}")
    return 1.0 if one == other else _KNOWN[one][1] / _KNOWN[other][1]


def alternatives(unit: str) -> list[str]:
    """The other known units of the same kind, by their usual names; none of an unknown unit."""
    own = known_unit(unit)
    if own is None:
        return []
    kind = _KNOWN[own][0]
    return [name for name, (of, _, _) in _KNOWN.items() if of == kind and name != own]


def converted(value: float, by: float) -> float:
    """`value` times a factor of `factor`, without the noise of the last digits.

    >>> converted(738.0, factor("month", "year"))
    61.5
    """
    return value if by == 1.0 else float(f"{value * by:.12g}")
