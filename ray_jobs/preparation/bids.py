"""Finding the subjects of a BIDS folder and their covariates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ldm.covariates import CovariateSchema, Row
from ldm.measuring import MEASURED
from ldm.split import held_out
from ray_jobs.errors import JobError
from ray_jobs.preparation.participants import TABLE, Participant, read_participants
from ray_jobs.preparation.reading import Reading


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One participant: its image and covariates, or the reason why it cannot be used.

    `covariates` lacks those that are not known; `unmeasured` names those of them to be measured on
    the image; `intracranial` is the volume (mm3) inside the skull where the table has it.
    """

    participant_id: str
    image: Path | None
    covariates: Row
    reason: str | None = None
    unmeasured: tuple[str, ...] = ()
    intracranial: float | None = None


def find_subjects(
    folder: Path,
    schema: CovariateSchema,
    *,
    measure: bool = False,
    heads: bool = False,
    reading: Reading | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Subject]:
    """Every participant of the table or with a folder, in the order of their ids.

    Args:
        folder: a BIDS dataset.
        schema: the covariates that a subject needs.
        measure: whether volumes that the table lacks will be measured.
        heads: whether the table's intracranial volumes are needed.
        reading: what the user says of the table.
        tell: given a line for all that is not read from the table just as it stands.

    Raises:
        JobError: no such folder, or no participants.tsv that can be read with this schema.
    """
    measured = MEASURED if measure else ()
    found = read_participants(folder, schema, measured, reading or Reading(), heads=heads)
    for note in found.notes if tell else ():
        tell(f"{TABLE}: {note}")  # type: ignore[misc]
    folders = {p.name for p in folder.glob("sub-*") if p.is_dir()}
    if not found.rows and not folders:
        raise JobError(f"{folder} has no sub-* folder and no participant; expected a BIDS dataset")
    names = sorted(found.rows.keys() | folders)
    return [_subject(folder, name, found.rows.get(name), measured) for name in names]


def in_validation(participant_id: str, share: float) -> bool:
    """Whether a subject is held out: a function of its id alone, so it never changes sides."""
    return held_out(participant_id, share)


def _subject(folder: Path, name: str, row: Participant | None, measured: Sequence[str]) -> Subject:
    found = sorted((folder / name).glob("**/anat/*_T1w.nii*"))
    images = [p for p in found if p.name.endswith((".nii", ".nii.gz")) and p.name[0] != "."]
    image = images[0] if images else None
    reason = None if image else "no T1w image"
    if row is None:
        return Subject(
            participant_id=name, image=image, covariates={}, reason="not in participants.tsv"
        )
    return Subject(
        participant_id=name,
        image=image,
        covariates=row.covariates,
        reason=row.reason or reason,
        unmeasured=tuple(c for c in row.missing if c in measured),
        intracranial=row.intracranial,
    )
