"""Finding the subjects of a BIDS folder and their covariates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ldm.contrasts import T1W, without_suffix
from ldm.covariates import CovariateSchema, Row
from ldm.covariates.names import same_name
from ldm.measuring import MEASURED
from ldm.split import held_out, person_of
from ray_jobs.errors import JobError
from ray_jobs.preparation.bids.choice import Choice
from ray_jobs.preparation.bids.identity import alike, places, told
from ray_jobs.preparation.bids.images import (
    Found,
    Image,
    doubts,
    find_images,
    natural,
    plain,
    ranked,
    why_first,
)
from ray_jobs.preparation.bids.participants import (
    TABLE,
    Participant,
    absent,
    read_participants,
    session_values,
)
from ray_jobs.preparation.bids.reading import Missing, Reading
from ray_jobs.preparation.bids.sessions import ALL, Sessions, groups, read_sessions
from ray_jobs.preparation.notes import CASE, OTHER_SESSION, PASSED_OVER, SPELLING

UNLISTED = "not in participants.tsv"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One sample: a participant's image and covariates, or the reason why it cannot be used.

    Attributes:
        participant_id: `sub-01`; with --session all `sub-01_ses-02`; of one of several contrasts
            `sub-01_T2w` and `sub-01_ses-02_T2w`.
        session: that the image is of, where it has sessions.
        of_session: the covariates that are known of that very session.
        unmeasured: the covariates to be measured on the image.
        intracranial: the volume (mm3) inside the skull where the table has it.
        why: the rule that chose the image before the next one; empty where there is one alone.
        others: what to use instead, best first, where this image turns out to be unusable.
        notes: codes of what is doubtful.
        suffix: the contrast.
        guide: of another contrast than T1w, the T1w image of the same session, by which it is
            registered, stripped and measured; None where there is none.
    """

    participant_id: str
    image: Path | None
    covariates: Row
    reason: str | None = None
    unmeasured: tuple[str, ...] = ()
    intracranial: float | None = None
    session: str | None = None
    of_session: tuple[str, ...] = ()
    why: str = ""
    others: tuple[Subject, ...] = ()
    notes: tuple[str, ...] = ()
    suffix: str = T1W
    guide: Path | None = None


def find_subjects(
    folder: Path,
    schema: CovariateSchema,
    *,
    measure: bool = False,
    heads: bool = False,
    reading: Reading | None = None,
    choice: Choice | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Subject]:
    """Every participant of the table or with a folder, in the order of their ids.

    With several contrasts each is a sample, and one that a participant lacks is told.

    Args:
        folder: a BIDS dataset.
        schema: the covariates that a subject needs.
        measure: whether volumes that the table lacks will be measured.
        heads: whether the table's intracranial volumes are needed.
        reading: what the user says of the table.
        choice: which images are asked for; by default the best one of each participant.
        tell: given a line for all that is not read from the table just as it stands.

    Raises:
        JobError: no such folder, or no participants.tsv that can be read with this schema.
    """
    choice, reading = choice or Choice(), reading or Reading()
    folders = {plain(p.name): p for p in folder.glob("sub-*") if p.is_dir()}
    sessions = {name: read_sessions(path) for name, path in folders.items()}
    of_sessions = {column for known in sessions.values() for column in known.columns}
    measured = MEASURED if measure else ()
    elsewhere = (*measured, *(n for n in schema.names if reading.columns.get(n, n) in of_sessions))
    found = read_participants(folder, schema, elsewhere, reading, heads=heads)
    placed = places(found.rows.keys(), folders.keys())
    lines = [f"{TABLE}: {note}" for note in found.notes]
    for line in (*lines, *told(found.rows, folders, placed, TABLE)) if tell else ():
        tell(line)  # type: ignore[misc]
    if not found.rows and not folders:
        raise JobError(f"{folder} has no sub-* folder and no participant; expected a BIDS dataset")
    names = sorted(found.rows.keys() | (folders.keys() - placed.values()))
    people = _People(folder, schema, measured, reading, choice)
    subjects = []
    for name in names:
        place = placed.get(name, name)
        known = sessions.get(place, Sessions()).beside(found.sessions.get(name))
        samples = people.samples(name, folders.get(place), found.rows.get(name), known)
        if name not in found.rows and (near := alike(name, found.rows)):
            samples = [_unlisted(sample, near) for sample in samples]
        if place != name:
            code = CASE if place.casefold() == name.casefold() else SPELLING
            samples = [_noted(sample, code) for sample in samples]
        subjects += samples
    if len(choice.suffixes) < 2:
        return subjects
    kept, lines = lacking_told(subjects, choice.suffixes)
    for line in lines if tell else ():
        tell(line)  # type: ignore[misc]
    return kept


def in_validation(participant_id: str, share: float) -> bool:
    """Whether a subject is held out: a function of the person alone, who never changes sides."""
    return held_out(participant_id, share)


def lacking_told(
    subjects: list[Subject], suffixes: Sequence[str]
) -> tuple[list[Subject], list[str]]:
    """The samples, and a line a contrast that tells who lacks it and has another. Of those there is
    no sample; a participant without any image is there once."""
    there: dict[str, set[str]] = {}
    for one in subjects:
        if one.image is not None:
            there.setdefault(without_suffix(one.participant_id), set()).add(one.suffix)
    people = {person_of(name) for name in there}
    kept: list[Subject] = []
    for one in subjects:
        person = person_of(one.participant_id)
        if one.image is not None:
            kept.append(one)
        elif person not in people and person not in {other.participant_id for other in kept[-1:]}:
            kept.append(_of_none(one, person, suffixes))
    who = "participants" if set(there) == people else "sessions"
    lines = []
    for suffix in suffixes:
        names = [name for name, has in there.items() if suffix not in has]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        if names:
            lines.append(
                f"no {suffix} image of {len(names)} of {len(there)} {who}, whose others are used: "
                f"{', '.join(names[:5])}{more}"
            )
    return kept, lines


def _of_none(one: Subject, person: str, suffixes: Sequence[str]) -> Subject:
    """A participant without an image of any of the contrasts."""
    if one.reason and one.reason.startswith(_none(one.suffix)):
        reason = one.reason.replace(_none(one.suffix), _none(" or ".join(suffixes)), 1)
        return replace(one, participant_id=person, reason=reason)
    return replace(one, participant_id=person)


@dataclass(frozen=True)
class _People:
    """How the samples of each participant of one dataset are found."""

    folder: Path
    schema: CovariateSchema
    measured: Sequence[str]
    reading: Reading
    choice: Choice

    def samples(
        self, name: str, place: Path | None, row: Participant | None, sessions: Sessions
    ) -> list[Subject]:
        """What is used of one participant: a sample, or with --session all one a session; of each
        contrast."""
        suffixes = self.choice.suffixes
        found = {suffix: find_images(place, self.choice.pattern, suffix) for suffix in suffixes}
        if suffixes == (T1W,):
            return self._samples(name, found[T1W], row, sessions, T1W)
        samples = [
            sample
            for suffix in suffixes
            for sample in self._samples(name, found[suffix], row, sessions, suffix)
        ]
        guides = found[T1W] if T1W in found else find_images(place)
        return [self._guided(sample, guides) for sample in samples]

    def _guided(self, sample: Subject, found: Found) -> Subject:
        """A sample of another contrast, with the T1w image of its session to go by."""
        if sample.suffix == T1W or sample.image is None:
            return sample
        others = tuple(self._guided(other, found) for other in sample.others)
        there = tuple(image for image in found.images if image.session == sample.session)
        first = next(iter(ranked(there, self.choice.placement)), None)
        return replace(sample, guide=first.path if first else None, others=others)

    def _samples(
        self,
        name: str,
        found: Found,
        row: Participant | None,
        sessions: Sessions,
        suffix: str,
    ) -> list[Subject]:
        """What is used of one participant in one contrast."""
        choice = self.choice
        samples = []
        alternatives = groups(found.images, choice.session)
        for session, images in alternatives.items():
            ordered = ranked(images, choice.placement)
            sample_id = f"{name}_{session}" if session else name
            if len(choice.suffixes) > 1:
                sample_id = f"{sample_id}_{suffix}"
            tried = [
                self._subject(sample_id, image, row, sessions, suffix) for image in ordered
            ] or [_without(self._subject(sample_id, None, row, sessions, suffix), found, choice)]
            tried = [
                _noted(one, OTHER_SESSION)
                if _of_another_day(one, found, sessions, self.schema, choice.session)
                else one
                for one in tried
            ]
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
        self,
        name: str,
        image: Image | None,
        row: Participant | None,
        sessions: Sessions,
        suffix: str,
    ) -> Subject:
        reason = None if image else _none(suffix)
        session = image.session if image else None
        path = image.path if image else None
        if row is None:
            return Subject(
                participant_id=name,
                image=path,
                session=session,
                covariates={},
                reason=UNLISTED,
                suffix=suffix,
            )
        covariates, missing, problem = self._covariates(row, sessions, session)
        own = sessions.of(session)
        columns = self.reading.columns
        return Subject(
            participant_id=name,
            image=path,
            session=session,
            of_session=tuple(n for n in covariates if same_name(columns.get(n, n), own)),
            covariates=covariates,
            reason=problem or reason,
            unmeasured=tuple(c for c in missing if c in self.measured),
            intracranial=row.intracranial,
            notes=doubts(image) if image else (),
            suffix=suffix,
        )

    def _covariates(
        self, row: Participant, sessions: Sessions, session: str | None
    ) -> tuple[Row, tuple[str, ...], str | None]:
        """What is known of a session, what is missing, and why it cannot be used: the session's
        own table before the participants'."""
        if sessions.problem:
            return row.covariates, row.missing, sessions.problem
        own = session_values(
            self.folder, self.schema, sessions.of(session), self.reading, session or ""
        )
        covariates = {**row.covariates, **own.covariates}
        missing = tuple(c for c in row.missing if c not in own.covariates)
        problem = own.reason or (None if own.covariates else row.reason)
        if problem is None and self.reading.missing is Missing.DROP_SUBJECT:
            lacking = [c for c in self.schema.names if c not in covariates]
            lacking = [c for c in lacking if c not in self.measured]
            if lacking:
                problem = row.reason or absent(self.schema[lacking[0]], "n/a")
        ordered = {name: covariates[name] for name in self.schema.names if name in covariates}
        return ordered, missing, problem


def _without(subject: Subject, found: Found, choice: Choice) -> Subject:
    """A subject without an image; its reason tells where one was looked for and what is there."""
    if subject.reason != _none(subject.suffix):
        return subject
    where = f" of {choice.session}" if choice.session not in (None, ALL) else ""
    others = "; ".join(filter(None, (found.instead, *_sessions_of(found))))
    told = f" (found {others})" * bool(others)
    return replace(subject, reason=f"{_none(subject.suffix)}{where}{told}")


def _none(suffix: str) -> str:
    return f"no {suffix} image"


def _unlisted(subject: Subject, near: list[str]) -> Subject:
    """A folder that the table does not name, but others like it."""
    reason = f"{UNLISTED}, which has {', '.join(near)}; write the one as the other"
    return replace(subject, reason=reason)


def _sessions_of(found: Found) -> list[str]:
    return [f"{image.session or 'no session'}: {image.path.name}" for image in found.images[:3]]


def _noted(subject: Subject, note: str) -> Subject:
    others = tuple(_noted(other, note) for other in subject.others)
    return replace(subject, notes=(*subject.notes, note), others=others)


def _of_another_day(
    subject: Subject, found: Found, sessions: Sessions, schema: CovariateSchema, asked: str | None
) -> bool:
    """Whether covariates may be those of another session than the image's: a named one's, one of
    several that are all used, or a later one's than the first."""
    known = {image.session.casefold() for image in found.images if image.session}
    known |= {name.casefold() for name in sessions.rows}
    if subject.session is None or not (asked not in (None, ALL) or len(known) > 1):
        return False
    if asked is None and natural(subject.session) == min(map(natural, known)):
        return False
    of_the_day = {*subject.of_session, *subject.unmeasured}
    return any(covariate.name not in of_the_day for covariate in schema.continuous)
