"""Which column of a table is which covariate, and what a name that is none may be meant as."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

# Columns of a table that say whose row it is.
LABELS = frozenset({"participant_id", "participant", "subject_id", "subject", "id"})
# Other names of what cohorts tell most, folded.
_ALSO = {
    "sex": ("gender", "geschlecht", "sexe", "m_f", "f_m"),
    "age": ("age_at_scan", "age_years", "scan_age", "years", "alter"),
    "ventricular_volume": ("ventricles", "lateral_ventricles", "vv"),
    "brain_volume": ("tbv", "total_brain_volume", "brainvolume"),
    "session_id": ("session", "ses", "visit", "visit_id", "timepoint", "wave"),
    "intracranial_volume": ("icv", "tiv", "etiv", "estimatedtotalintracranialvol"),
}


def same_name(name: str, columns: Iterable[str]) -> list[str]:
    """The columns of exactly that name, else those that differ from it in case alone."""
    columns = list(columns)
    exact = [column for column in columns if column == name]
    return exact or [column for column in columns if column.casefold() == name.casefold()]


def closest(name: str, names: Sequence[str]) -> str | None:
    """What `name` may be meant as among `names`: by another usual name, by case, by a slip."""
    folded = {other.casefold(): other for other in names}
    plain = name.casefold().strip().replace(" ", "_").replace("-", "_")
    for usual, others in _ALSO.items():
        if plain in others and usual in folded:
            return folded[usual]
        if plain == usual:
            for other in others:
                if other in folded:
                    return folded[other]
    close = difflib.get_close_matches(plain, folded, n=1)
    return folded[close[0]] if close else None


def hint(name: str, names: Sequence[str]) -> str:
    """`did you mean age? `, or nothing."""
    close = closest(name, names)
    return f"did you mean {close}? " if close else ""
