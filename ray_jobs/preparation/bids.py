"""Finding the subjects of a BIDS folder and their covariates."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ldm.covariates import CovariateSchema, Row
from ldm.errors import LdmError
from ldm.measuring import MEASURED
from ldm.split import held_out
from ray_jobs.errors import JobError
from ray_jobs.preparation.images import Found, Image, find_images, plain, ranked, why_first
from ray_jobs.preparation.notes import CASE, OTHER_SESSION, PASSED_OVER
from ray_jobs.preparation.options import INTRACRANIAL, Choice
from ray_jobs.preparation.sessions import ALL, Sessions, groups, read_sessions

# How a table says that a value is not there.
_MISSING = frozenset({"", "n/a", "na", "nan"})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One sample: a participant's image and covariates, or the reason why it cannot be used.

    Attributes:
        participant_id: `sub-01`; with --session all `sub-01_ses-02`.
        session: that the image is of, where it has sessions.
        unmeasured: the covariates to be measured on the image.
        intracranial: the volume (mm3) inside the skull where the table has it.
        why: the rule that chose the image before the next one; empty where there is one alone.
        others: what to use instead, best first, where this image turns out to be unusable.
        notes: codes of what is doubtful.
    """

    participant_id: str
    image: Path | None
    covariates: Row
    reason: str | None = None
    unmeasured: tuple[str, ...] = ()
    intracranial: float | None = None
    session: str | None = None
    why: str = ""
    others: tuple[Subject, ...] = ()
    notes: tuple[str, ...] = ()


def find_subjects(
    folder: Path,
    schema: CovariateSchema,
    *,
    measure: bool = False,
    choice: Choice | None = None,
) -> list[Subject]:
    """Every participant of the table or with a folder, in the order of their ids.

    Args:
        folder: a BIDS dataset.
        schema: the covariates that a subject needs.
        measure: whether volumes that the table lacks will be measured.
        choice: which images are asked for; by default the best one of each participant.

    Raises:
        JobError: no such folder, no participants.tsv, or a column that the schema needs missing.
    """
    choice = choice or Choice()
    folders = {plain(p.name): p for p in folder.glob("sub-*") if p.is_dir()}
    sessions = {name: read_sessions(path) for name, path in folders.items()}
    of_sessions = {column for known in sessions.values() for column in known.columns}
    elsewhere = (*(MEASURED if measure else ()), *of_sessions)
    rows = _read_participants(folder, schema, elsewhere)
    if not rows and not folders:
        raise JobError(f"{folder} has no sub-* folder and no participant; expected a BIDS dataset")
    places = _places(rows.keys(), folders.keys())
    names = sorted(rows.keys() | (folders.keys() - places.values()))
    subjects = []
    for name in names:
        place = places.get(name, name)
        samples = _samples(
            name, folders.get(place), rows.get(name), sessions.get(place, Sessions()), schema,
            measure, choice,
        )  # fmt: skip
        subjects += samples if place == name else [_noted(sample, CASE) for sample in samples]
    return subjects


def in_validation(participant_id: str, share: float) -> bool:
    """Whether a subject is held out: a function of the person alone, who never changes sides."""
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


def _places(rows: Set[str], folders: Set[str]) -> dict[str, str]:
    """The folder of each participant whose folder's name differs from the table's in case alone."""
    places = {}
    for name in rows - folders:
        alike = [other for other in folders - rows if other.casefold() == name.casefold()]
        rivals = [other for other in rows - folders if other.casefold() == name.casefold()]
        if len(alike) == len(rivals) == 1:
            places[name] = alike[0]
    return places


def _samples(
    name: str,
    folder: Path | None,
    record: dict[str, str] | None,
    sessions: Sessions,
    schema: CovariateSchema,
    measure: bool,
    choice: Choice,
) -> list[Subject]:
    """What is used of one participant: a sample, or with --session all one a session."""
    found = find_images(folder, choice.pattern)
    samples = []
    alternatives = groups(found.images, choice.session)
    for session, images in alternatives.items():
        ordered = ranked(images, choice.placement)
        sample_id = f"{name}_{session}" if session else name
        tried = [
            _subject(sample_id, image, record, sessions, schema, measure) for image in ordered
        ] or [_without(_subject(sample_id, None, record, sessions, schema, measure), found, choice)]
        if choice.session == ALL and len(alternatives) > 1:
            tried = [_noted_session(one, sessions, schema) for one in tried]
        usable = [one for one in tried if one.reason is None] or tried[:1]
        why = why_first(ordered, choice.placement) if len(ordered) > 1 else ""
        if usable[0] is not tried[0]:
            why = f"{tried[0].session}: {tried[0].reason}"
        if found.problems and ordered:
            why = "; ".join(filter(None, (why, *found.problems)))
        if usable[0] is not tried[0] or found.problems or any(i.problem for i in ordered):
            usable = [_noted(one, PASSED_OVER) for one in usable]
        samples.append(replace(usable[0], why=why, others=tuple(usable[1:])))
    return samples


def _subject(
    name: str,
    image: Image | None,
    record: dict[str, str] | None,
    sessions: Sessions,
    schema: CovariateSchema,
    measure: bool,
) -> Subject:
    covariates: Row = {}
    unmeasured: tuple[str, ...] = ()
    reason = None if image else "no T1w image"
    session = image.session if image else None
    if record is None:
        reason = "not in participants.tsv"
    elif sessions.problem:
        reason = sessions.problem
    else:
        record = {**record, **sessions.of(session)}
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
        image=image.path if image else None,
        session=session,
        covariates=covariates,
        reason=reason,
        unmeasured=unmeasured if measure else (),
        intracranial=_volume(record),
    )


def _without(subject: Subject, found: Found, choice: Choice) -> Subject:
    """A subject without an image; its reason tells where one was looked for and what is there."""
    if subject.reason != "no T1w image":
        return subject
    where = f" of {choice.session}" if choice.session not in (None, ALL) else ""
    others = "; ".join(filter(None, (found.instead, *_sessions_of(found))))
    return replace(subject, reason=f"no T1w image{where}" + (f" (found {others})" * bool(others)))


def _sessions_of(found: Found) -> list[str]:
    return [f"{image.session or 'no session'}: {image.path.name}" for image in found.images[:3]]


def _noted(subject: Subject, note: str) -> Subject:
    others = tuple(_noted(other, note) for other in subject.others)
    return replace(subject, notes=(*subject.notes, note), others=others)


def _noted_session(subject: Subject, sessions: Sessions, schema: CovariateSchema) -> Subject:
    """One of several sessions, some of whose covariates may be those of another day."""
    of_the_day = {*sessions.of(subject.session), *subject.unmeasured}
    known = all(covariate.name in of_the_day for covariate in schema.continuous)
    return subject if known else _noted(subject, OTHER_SESSION)


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
