"""The images that this machine found sound, so that none has to be read twice while it stands."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from manifests.digests import sha256
from manifests.volumes.cache import default_folder
from manifests.volumes.nifti import Geometry

# Raised where an image is held to more than before: what was found sound then is read again.
CHECKS = 1
BUSY_SECONDS = 10.0  # another check of the same release writes
TABLE = (
    "CREATE TABLE IF NOT EXISTS sound (key TEXT PRIMARY KEY, etag TEXT, sha256 TEXT, geometry TEXT,"
    " told TEXT) WITHOUT ROWID"
)


class Sound(NamedTuple):
    """An image as it was when it was read: where, by the storage's ETag, and what."""

    key: str
    etag: str
    sha256: str
    geometry: Geometry


class Remembered:
    """Sound images of one release, in a file of the user's cache that outlives a killed check.

    An image is known by its key, its ETag and the digest that its row names. Who can change an
    object and keep its ETag, as a failing disk may, is found by a check that reads everything.
    Where the cache cannot be used, nothing is known.

    Args:
        file: the SQLite database.
        space: in which the images were held to lie.
    """

    def __init__(self, file: Path, space: str | None = None) -> None:
        self._told = json.dumps([CHECKS, space])
        self._database: sqlite3.Connection | None = None
        with suppress(OSError, sqlite3.Error):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = _opened(file)

    @classmethod
    def of(cls, address: str, space: str | None = None) -> Remembered:
        """Those of the release at an address, which names its server too where a command has to."""
        return cls(default_folder("checked") / f"{sha256(address.encode())[:32]}.sqlite", space)

    def among(self, wanted: Sequence[tuple[str, str, str]]) -> dict[str, Geometry]:
        """Which of these (key, ETag, SHA-256) are known to be sound, by key."""
        found: dict[str, Geometry] = {}
        if self._database is None or not wanted:
            return found
        expected = {key: (etag, digest) for key, etag, digest in wanted}
        marks = ",".join("?" * len(expected))
        text = f"SELECT key, etag, sha256, geometry FROM sound WHERE told = ? AND key IN ({marks})"
        with suppress(sqlite3.Error, ValueError, TypeError):
            for key, etag, digest, geometry in self._database.execute(
                text, (self._told, *expected)
            ):
                if expected[key] == (etag, digest):
                    found[key] = _geometry(geometry)
        return found

    def add(self, sound: Iterable[Sound]) -> None:
        """Note images; they are known from now on, whatever happens to this process."""
        rows = [(s.key, s.etag, s.sha256, json.dumps(s.geometry), self._told) for s in sound]
        if self._database is None or not rows:
            return
        with suppress(sqlite3.Error), self._database:
            self._database.executemany("INSERT OR REPLACE INTO sound VALUES (?,?,?,?,?)", rows)

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()


def _opened(file: Path) -> sqlite3.Connection:
    """The database, made where there is none; one that is broken is removed."""
    database = sqlite3.connect(file, timeout=BUSY_SECONDS)
    try:
        database.execute(TABLE)
    except sqlite3.Error as error:
        database.close()
        if not isinstance(error, sqlite3.OperationalError):  # such as one that is locked
            file.unlink()
        raise
    return database


def _geometry(text: str) -> Geometry:
    shape, affine, dtype, slope, intercept = json.loads(text)
    return Geometry(tuple(shape), tuple(affine), dtype, slope, intercept)
