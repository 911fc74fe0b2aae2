"""participants.tsv and participants.json of a BIDS folder: who is in it, and their covariates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldm.covariates import Covariate, CovariateSchema, Row
from ldm.covariates.names import closest, hint, same_name
from ldm.covariates.text_table import TextTable, read_text_table
from ldm.errors import LdmError
from ldm.measuring import MEASURED
from ray_jobs.errors import JobError
from ray_jobs.files import read_json
from ray_jobs.preparation.bids import identity
from ray_jobs.preparation.bids.images import plain
from ray_jobs.preparation.bids.reading import (
    HEAD,
    INTRACRANIAL,
    PARTICIPANT,
    SESSION,
    Missing,
    Reading,
)
from ray_jobs.preparation.bids.sessions import Sessions
from ray_jobs.preparation.bids.values import Values, read_values

TABLE, ABOUT = "participants.tsv", "participants.json"


@dataclass(frozen=True, kw_only=True)
class Participant:
    """One row of the table.

    Attributes:
        covariates: those that are known, in the schema's units.
        missing: the names of those that the table has no value of.
        reason: why the row cannot be used; None where it can.
        intracranial: volume (mm3) inside the skull, where the table has it.
    """

    covariates: Row
    missing: tuple[str, ...]
    reason: str | None
    intracranial: float | None


@dataclass(frozen=True, kw_only=True)
class Participants:
    """The table's participants by their id, and what the user should know of how it was read.

    Attributes:
        rows: of a participant with a row a session, what the first of them has that has it.
        sessions: what the table says of each session, by participant.
    """

    rows: dict[str, Participant]
    notes: tuple[str, ...]
    sessions: dict[str, Sessions] = field(default_factory=dict)


def read_participants(
    folder: Path,
    schema: CovariateSchema,
    measured: Sequence[str],
    reading: Reading,
    *,
    heads: bool = False,
) -> Participants:
    """The participants of a BIDS folder, whose table has a row a participant or, with a column
    session_id, a row a session.

    Args:
        folder: a BIDS dataset.
        schema: the covariates.
        measured: those that may be missing, as they will be measured.
        reading: what the user says of the table.
        heads: whether the intracranial volume is read, where there is one.

    Raises:
        JobError: no such folder or table, one that cannot be read, a column missing or there
            twice, a participant twice, or values that are not what the schema expects in most.
    """
    if not folder.is_dir():
        raise JobError(f"{folder}: no such folder; expected a BIDS dataset")
    path = folder / TABLE
    table, about = _table(path), _about(folder / ABOUT)
    columns = _columns(path, table, schema, measured, reading)
    sessions = identity.sessions(table, columns.get(SESSION))
    owners = identity.ids(path, table, columns[PARTICIPANT], sessions)
    names = list(dict.fromkeys(owners))

    def values_of(covariate: Covariate) -> Values:
        column = columns[covariate.name]
        texts = identity.first_known(owners, table.column(column))
        return read_values(
            covariate, texts, _of(about, column), reading, f"{path}, column {column}"
        )

    values = {c.name: values_of(c) for c in schema.covariates if c.name in columns}
    head = values_of(HEAD).known if heads and INTRACRANIAL in columns else {}
    if reading.missing is Missing.LEAVE_OUT:
        _refuse_mostly_missing(path, schema, values, len(names), measured)
    rows = {
        name: Participant(
            covariates={c: v.known[name] for c, v in values.items() if name in v.known},
            missing=tuple(c for c in schema.names if c not in values or name in values[c].missing),
            reason=_reason(name, schema, values, measured, reading),
            intracranial=float(head[name]) if name in head else None,
        )
        for name in names
    }
    notes = list(_notes(columns, values))
    if sessions:
        notes.append(f"a row a session: {len(owners)} rows of {len(names)} participants")
    of_sessions = {
        name: Sessions(known)
        for name, known in identity.by_session(table, owners, sessions or []).items()
    }
    return Participants(rows=rows, notes=tuple(notes), sessions=of_sessions)


def session_values(
    folder: Path, schema: CovariateSchema, row: Mapping[str, str], reading: Reading, session: str
) -> Participant:
    """The covariates that a row of a participant's `_sessions.tsv` has, read as the table's are.

    Args:
        row: the session's cells that are not missing, by column.
        session: its name, for messages.

    Raises:
        JobError: a unit that does not fit.
    """
    covariates: Row = {}
    about = _about(folder / ABOUT) if row else {}
    for covariate in schema.covariates:
        for column in same_name(reading.columns.get(covariate.name, covariate.name), row)[:1]:
            told, where = _of(about, column), f"{session}, column {column}"
            found = read_values(covariate, {session: row[column]}, told, reading, where)
            if session in found.reasons:
                return Participant(
                    covariates={}, missing=(), reason=found.reasons[session], intracranial=None
                )
            if session in found.known:
                covariates[covariate.name] = found.known[session]
    missing = tuple(name for name in schema.names if name not in covariates)
    return Participant(covariates=covariates, missing=missing, reason=None, intracranial=None)


def _table(path: Path) -> TextTable:
    try:
        return read_text_table(path.read_bytes(), "\t")
    except FileNotFoundError:
        raise JobError(
            f"{path.parent} has no {TABLE}{_instead(path.parent)}; expected a BIDS dataset"
        ) from None
    except OSError as error:
        raise JobError(f"{path} cannot be read: {error.strerror}") from None
    except LdmError as error:
        raise JobError(f"{path} cannot be read: {error}") from None


def _instead(folder: Path) -> str:
    """Tables that lie where one is looked for in vain: in another format, or a folder down."""
    try:
        other = [p for p in folder.glob("participants.*") if p.suffix != ".json"]
        found = sorted([*other, *folder.glob(f"*/{TABLE}")])
    except OSError:
        return ""
    shown = ", ".join(plain(str(path.relative_to(folder))) for path in found[:3])
    return f", but {shown}" if shown else ""


def _about(path: Path) -> dict[str, Any]:
    """What participants.json says of the columns; nothing where there is none."""
    found = read_json(path)
    if found is None and path.exists():
        raise JobError(
            f"{path} is no JSON object, and may tell units that matter; mend it or take it away"
        )
    return found or {}


def _of(about: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    """What is said of one column, in the name's own case or another."""
    for name in same_name(column, about):
        if isinstance(about[name], Mapping):
            return dict(about[name])
    return {}


def _columns(
    path: Path,
    table: TextTable,
    schema: CovariateSchema,
    measured: Sequence[str],
    reading: Reading,
) -> dict[str, str]:
    """The column of each name that is there.

    Raises:
        JobError: one that is needed is missing, or one of a name there twice.
    """
    header = [name for name in table.header if name]
    columns, missing = {}, []
    for name in (PARTICIPANT, SESSION, *schema.names, INTRACRANIAL):
        asked = reading.columns.get(name, name)
        found = same_name(asked, header)
        if len(found) > 1:
            raise JobError(
                f"{path} has the column {' and '.join(found)} twice; leave one, or say which "
                f"with --column {name}=COLUMN"
                if len(set(found)) > 1
                else f"{path} has the column {found[0]} twice; leave one"
            )
        if found:
            columns[name] = found[0]
        elif name in reading.columns:
            raise JobError(
                f"--column {name}={asked}: {path} has no such column; {hint(asked, header)}"
                f"it has {', '.join(header)}"
            )
        elif name not in (*measured, SESSION, INTRACRANIAL) or name == PARTICIPANT:
            missing.append(name)
    if missing:
        close = {name: closest(name, header) for name in missing}
        meant = [f"--column {name}={column}" for name, column in close.items() if column]
        did_you_mean = f"; did you mean {' '.join(meant)}?" if meant else ""
        raise JobError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(header)}. Add it, or "
            f"name other covariates with --covariates{did_you_mean}{measuring(missing)}"
        )
    return columns


def _reason(
    name: str,
    schema: CovariateSchema,
    values: Mapping[str, Values],
    measured: Sequence[str],
    reading: Reading,
) -> str | None:
    """Why a participant cannot be used; the first covariate's."""
    for covariate in schema.covariates:
        own = values.get(covariate.name)
        if own is None:
            continue
        if name in own.reasons:
            return own.reasons[name]
        if name not in own.missing or covariate.name in measured:
            continue
        if reading.missing is Missing.DROP_SUBJECT:
            told = absent(covariate, own.missing[name])
            if told is not None:
                return told
    return None


def _refuse_mostly_missing(
    path: Path,
    schema: CovariateSchema,
    values: Mapping[str, Values],
    count: int,
    measured: Sequence[str],
) -> None:
    for name in schema.names:
        lacking = len(values[name].missing) if name in values and name not in measured else 0
        if 2 * lacking > count:
            raise JobError(
                f"{path}: {name} is missing in {lacking} of {count} participants, too many to "
                "learn from the others; name covariates without it with --covariates"
            )


def _notes(columns: Mapping[str, str], values: Mapping[str, Values]) -> Iterator[str]:
    for name, column in columns.items():
        if name != column and name in (*values, PARTICIPANT, SESSION):
            yield f"{name}: from the column {column!r}"
    for own in values.values():
        if own.note:
            yield own.note


def absent(covariate: Covariate, text: str) -> str | None:
    """What is wrong with a cell that says that its value is not there; None for a level."""
    try:
        covariate.parse(text)
    except LdmError as error:
        return f"{error}{measuring([covariate.name])}"
    return None


def measuring(missing: Sequence[str]) -> str:
    """What may be done about volumes that are missing; nothing of other covariates."""
    return "; --measure auto measures it" if set(missing) & set(MEASURED) else ""
