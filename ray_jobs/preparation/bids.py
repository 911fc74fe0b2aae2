"""Finding the subjects of a BIDS folder and their covariates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ldm.covariates import CovariateSchema, Row
from ldm.errors import LdmError
from ldm.measuring import MEASURED
from ldm.split import held_out
from ray_jobs.errors import JobError
from ray_jobs.preparation.options import INTRACRANIAL

# How a table says that a value is not there.
_MISSING = frozenset({"", "n/a", "na", "nan"})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One participant: its image and covariates, or the reason why it cannot be used.

    `unmeasured` names the covariates to be measured on the image; `intracranial` is the volume
    (mm3) inside the skull where the table has it.
    """

    participant_id: str
    image: Path | None
    covariates: Row
    reason: str | None = None
    unmeasured: tuple[str, ...] = ()
    intracranial: float | None = None


def find_subjects(folder: Path, schema: CovariateSchema, *, measure: bool = False) -> list[Subject]:
    """Every participant of the table or with a folder, in the order of their ids.

    Args:
        folder: a BIDS dataset.
        schema: the covariates that a subject needs.
        measure: whether volumes that the table lacks will be measured.

    Raises:
        JobError: no such folder, no participants.tsv, or a column that the schema needs missing.
    """
    rows = _read_participants(folder, schema, MEASURED if measure else ())
    folders = {p.name for p in folder.glob("sub-*") if p.is_dir()}
    if not rows and not folders:
        raise JobError(f"{folder} has no sub-* folder and no participant; expected a BIDS dataset")
    names = sorted(rows.keys() | folders)
    return [_subject(folder, name, rows.get(name), schema, measure) for name in names]


def in_validation(participant_id: str, share: float) -> bool:
    """Whether a subject is held out: a function of its id alone, so it never changes sides."""
    return held_out(participant_id, share)


def _read_participants(
    folder: Path, schema: CovariateSchema, measured: Sequence[str]
) -> dict[str, dict[str, str]]:
    if not folder.is_dir():
        raise JobError(f"{folder}: no such folder; expected a BIDS dataset")
    path = folder / "participants.tsv"
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise JobError(f"{folder} has no participants.tsv; expected a BIDS dataset") from None
    except (ValueError, OSError) as error:
        raise JobError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    needed = ("participant_id", *(name for name in schema.names if name not in measured))
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise JobError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(table.columns)}. "
            f"Add it, or name other covariates with --covariates{_hint(missing)}"
        )
    names = table["participant_id"].map(lambda name: name if name[:4] == "sub-" else f"sub-{name}")
    doubled = names[names.duplicated()]
    if len(doubled):
        raise JobError(f"{path} has participant {doubled.iloc[0]} twice; expected one row each")
    records = table.to_dict(orient="records")
    return {
        name: {str(k): str(v) for k, v in record.items()}
        for name, record in zip(names, records, strict=True)
    }


def _subject(
    folder: Path,
    name: str,
    record: dict[str, str] | None,
    schema: CovariateSchema,
    measure: bool,
) -> Subject:
    found = sorted((folder / name).glob("**/anat/*_T1w.nii*"))
    images = [p for p in found if p.name.endswith((".nii", ".nii.gz")) and p.name[0] != "."]
    image = images[0] if images else None
    covariates: Row = {}
    unmeasured: tuple[str, ...] = ()
    reason = None if image else "no T1w image"
    if record is None:
        reason = "not in participants.tsv"
    else:
        there = {c: record[c] for c in schema.names if c in record}
        unmeasured = tuple(c for c in schema.names if c in MEASURED and _is_missing(there.get(c)))
        if measure:
            there = {c: value for c, value in there.items() if c not in unmeasured}
        try:
            covariates = schema.validate(there, partial=measure)
        except LdmError as error:
            reason = str(error)
            if unmeasured and reason.startswith(unmeasured):
                reason += _hint(unmeasured)
    return Subject(
        participant_id=name,
        image=image,
        covariates=covariates,
        reason=reason,
        unmeasured=unmeasured if measure else (),
        intracranial=_volume(record),
    )


def _is_missing(text: str | None) -> bool:
    return text is None or text.strip().casefold() in _MISSING


def _volume(record: dict[str, str] | None) -> float | None:
    try:
        volume = float((record or {}).get(INTRACRANIAL, "n/a"))
    except ValueError:
        return None
    return volume if 0 < volume < math.inf else None


def _hint(missing: Sequence[str]) -> str:
    return "; --measure auto measures it" if set(missing) & set(MEASURED) else ""
