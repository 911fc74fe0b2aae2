"""Sessions of participants: which are asked for, and what `sub-XX_sessions.tsv` says of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ldm.errors import LdmError
from ray_jobs.preparation.bids.identity import alike
from ray_jobs.preparation.bids.images import Image

ALL = "all"
PREFIX = "ses-"
_MISSING = frozenset({"", "n/a", "na", "nan"})

Row = dict[str, str]


@dataclass(frozen=True)
class Sessions:
    """What one participant's table says of each session; `problem` where it cannot be read."""

    rows: Mapping[str, Row] = field(default_factory=dict)
    problem: str | None = None

    def of(self, session: str | None) -> Row:
        """What is known of a session, by column; one spelt alike will do where one alone is."""
        if session is None:
            return {}
        known = {name.casefold(): row for name, row in self.rows.items()}
        near = alike(session.removeprefix(PREFIX), (name.removeprefix(PREFIX) for name in known))
        named = session.casefold()
        return known.get(named) or (known[PREFIX + near[0]] if len(near) == 1 else {})

    def beside(self, other: Sessions | None) -> Sessions:
        """What this table says, and where it says nothing, what another does."""
        if other is None:
            return self
        names = {*self.rows, *other.rows}
        rows = {name: {**other.of(name), **self.of(name)} for name in sorted(names)}
        return Sessions(rows, self.problem)

    @property
    def columns(self) -> frozenset[str]:
        """Every column that has a value for some session."""
        return frozenset(name for row in self.rows.values() for name in row)


def read_sessions(folder: Path) -> Sessions:
    """The table `sub-XX_sessions.tsv` in a participant's folder; missing values are left out."""
    path = folder / f"{folder.name}_sessions.tsv"
    if not path.is_file():
        return Sessions()
    try:
        return Sessions(_rows(path))
    except (LdmError, OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Sessions(problem=f"{path.name} cannot be read: {reason}")


def named(text: str | None) -> str | None:
    """The session that --session names: `ses-01` of "01" and of "ses-01"; None for the best."""
    if text is None or text == ALL:
        return text
    return text if text.startswith(PREFIX) else f"{PREFIX}{text}"


def groups(images: tuple[Image, ...], session: str | None) -> dict[str | None, tuple[Image, ...]]:
    """The images that are alternatives to each other, by the session that names the sample.

    All of them under None where one image a participant is asked for; by session with "all".
    """
    if session != ALL:
        asked = None if session is None else session.casefold()
        fit = (i for i in images if asked is None or (i.session or "").casefold() == asked)
        return {None: tuple(fit)}
    parts: dict[str | None, tuple[Image, ...]] = {}
    for image in images:
        parts[image.session] = (*parts.get(image.session, ()), image)
    return parts or {None: ()}


def _rows(path: Path) -> dict[str, Row]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    if "session_id" not in (lines.fieldnames or ()):
        raise LdmError("it has no column session_id")
    rows: dict[str, Row] = {}
    for line in lines:
        name = named((line.get("session_id") or "").strip()) or ""
        if name in rows:
            raise LdmError(f"it has session {name} twice; expected one row each")
        rows[name] = {
            key: value.strip()
            for key, value in line.items()
            if isinstance(key, str) and isinstance(value, str) and key != "session_id"
            if value.strip().casefold() not in _MISSING
        }
    return rows
