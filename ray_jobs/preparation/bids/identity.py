"""Whose a row of participants.tsv is: its id and session, and the folder that goes by that id."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from pathlib import Path

from ldm.covariates.names import closest
from ldm.covariates.text_table import TextTable
from ray_jobs.errors import JobError
from ray_jobs.preparation.bids.reading import PARTICIPANT, SESSION
from ray_jobs.preparation.bids.values import is_missing

PREFIX = "sub-"
_MOST_NAMES = 3


def ids(
    path: Path, table: TextTable, column: str, sessions: Sequence[str | None] | None
) -> list[str]:
    """The participant of each row, with the prefix sub-.

    Args:
        path: of the table, for messages.
        column: that of the ids.
        sessions: of each row; None where the table tells none, and has one row a participant.

    Raises:
        JobError: a row without an id or with one that no folder can have, or two rows of the same.
    """
    names: list[str] = []
    seen: set[tuple[str, str | None]] = set()
    for number, (text, line) in enumerate(zip(table.column(column), table.lines, strict=True)):
        if not text:
            raise JobError(f"{path}: line {line} has no {PARTICIPANT}")
        name = _prefixed(text, PREFIX)
        if "/" in name or "\\" in name or not name.isprintable():
            raise JobError(f"{path}: line {line}: {name!a:.60} is no participant's id")
        session = sessions[number] if sessions else None
        if (name, session) in seen:
            raise JobError(_twice(path, table, name, session, told=sessions is not None))
        seen.add((name, session))
        names.append(name)
    return names


def sessions(table: TextTable, column: str | None) -> list[str | None] | None:
    """The session of each row, with the prefix ses-; None where no row has one."""
    if column is None:
        return None
    texts = [None if is_missing(text) else text for text in table.column(column)]
    return [text and _prefixed(text, "ses-") for text in texts] if any(texts) else None


def first_known(owners: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Of each participant the first cell that is not missing, else the first."""
    texts: dict[str, str] = {}
    for name, cell in zip(owners, cells, strict=True):
        if name not in texts or (is_missing(texts[name]) and not is_missing(cell)):
            texts[name] = cell
    return texts


def by_session(
    table: TextTable, owners: Sequence[str], sessions: Sequence[str | None]
) -> dict[str, dict[str, dict[str, str]]]:
    """What each row that tells its session has, by participant, session and column."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for name, session, cells in zip(owners, sessions, table.rows, strict=False):
        if session:
            row = dict(zip(table.header, cells, strict=False))
            known = {column: text for column, text in row.items() if not is_missing(text)}
            found.setdefault(name, {})[session] = known
    return found


def spelling(name: str) -> str:
    """What two ids have in common that differ in case, zeros before a number, or punctuation.

    >>> spelling("sub-01"), spelling("sub-1"), spelling("NDAR_INV007") == spelling("ndarinv7")
    ('1', '1', True)
    """
    text = re.sub(r"[\W_]+", "", name.casefold().removeprefix(PREFIX))
    text = re.sub(r"^s(ub|es)(?=\d)", "", text)
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def alike(name: str, others: Iterable[str]) -> list[str]:
    """Those of `others` that are spelt like `name`, in order."""
    return sorted(other for other in others if spelling(other) == spelling(name))


def places(rows: Set[str], folders: Set[str]) -> dict[str, str]:
    """The folder of each participant whose folder's name is not the table's, where one alone fits:
    one that differs in case, else one that is spelt alike, and no other id or folder is."""
    found = {}
    left_rows, left_folders = rows - folders, folders - rows
    for name in left_rows:
        same = [other for other in left_folders if other.casefold() == name.casefold()]
        rivals = [other for other in left_rows if other.casefold() == name.casefold()]
        if len(same) == len(rivals) == 1:
            found[name] = same[0]
    for name in left_rows - found.keys():
        near = alike(name, folders)
        if len(near) == 1 and near[0] in left_folders and alike(name, rows) == [name]:
            found[name] = near[0]
    return found


def told(
    rows: Collection[str], folders: Collection[str], found: dict[str, str], table: str
) -> Iterator[str]:
    """What the user should know of how ids and folders go together."""
    near = sorted(name for name, place in found.items() if name.casefold() != place.casefold())
    if near:
        first = near[0]
        more = f", and {len(near) - 1} more alike" if len(near) > 1 else ""
        yield (
            f"{table}: {first} is taken for the folder {found[first]}{more}: they differ in zeros "
            "or punctuation alone, and no other fits"
        )
    if rows and folders and not found and not set(rows) & set(folders):
        yield (
            f"{table}: no folder is named after any of its {len(rows)} participants: it has "
            f"{_some(rows)}, the folders are {_some(folders)}; write the one as the other"
        )


def _twice(path: Path, table: TextTable, name: str, session: str | None, *, told: bool) -> str:
    if session:
        return f"{path} has {session} of participant {name} twice; expected one row each"
    line = f"{path} has participant {name} twice"
    if told:
        return f"{line} without a session; expected one row each, or each with its own session"
    meant = closest(SESSION, table.header)
    hint = f"; did you mean --column {SESSION}={meant}?" if meant else ""
    return f"{line}; expected one row each, or a column {SESSION} that tells them apart{hint}"


def _prefixed(text: str, prefix: str) -> str:
    return text if text.startswith(prefix) else f"{prefix}{text}"


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(sorted(names)[:_MOST_NAMES])}{more}"
