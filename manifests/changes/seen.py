"""A release as a reader finds it: the old one or the new one whole, also while it is changed.

From the moment in which a change is decided readers see the release that it makes: what is not in
its place yet is read where it is staged. What was read is of the release that was opened where that
release is still the one there, afterwards (`Seen.confirm`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from manifests.changes.journal import Change, read_change
from manifests.changes.register import Register, read_register, staged_key
from manifests.digests import sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.json_text import MOST_JSON_BYTES
from manifests.format.layout import RELEASE_KEY
from manifests.storage.base import ChangedError, Chunk, Entry, Store
from manifests.storage.overlay import Overlay

ATTEMPTS = 10


@dataclass(frozen=True)
class Seen:
    """A release as it was found.

    Attributes:
        place: where it lies.
        store: to be read from: the place, or what a change makes of it.
        release_json: None where there is none.
        stamp: the etag of release.json, or the identity of the change that makes it: a release that
            was changed and changed back is another one, whose files came and went.
    """

    place: Store
    store: Store
    release_json: bytes | None
    stamp: str = ""

    def confirm(self) -> None:
        """Raise ChangedError unless the release is still the one that was found."""
        now = look_at(self.place)
        if (now.release_json, now.stamp) != (self.release_json, self.stamp):
            raise ChangedError(
                f"{self.place.uri} was changed while it was being read; run the same command again"
            )


def look_at(store: Store) -> Seen:
    """The release that lies there, with the change of it that was decided, if one was.

    Raises:
        ReleaseError: it cannot be read.
    """
    for _ in range(ATTEMPTS):
        register = _register(store)
        view = store if register is None else _view(store, register)
        if view is None:
            continue  # finished just now
        try:
            data, etag = view.get_with_etag(RELEASE_KEY, most=MOST_JSON_BYTES)
        except KeyError:
            return Seen(store, view, None)
        decided = register.change if register else None
        if decided is None:
            return Seen(store, view, data, etag)
        if sha256(data) == decided.release:
            return Seen(store, view, data, f"change {decided.identity}")
    raise ChangedError(
        f"{store.uri} is being changed again and again; run the same command a little later"
    )


def change_under_way(store: Store) -> str | None:
    """What is being done to a release, or was not finished, in words; None where nothing is."""
    register = _register(store)
    if register is None or (register.change is None and register.holder is None):
        return None
    who = f" of {register.holder.told}" if register.holder else ""
    return f"`brainpress {register.verb}`{who}, begun {register.since}"


def decided_change(store: Store) -> Change | None:
    """The change that was decided and is not finished; None where there is none."""
    register = _register(store)
    if register is None or register.change is None:
        return None
    try:
        return read_change(store, register.change)
    except KeyError:
        return None


def changed_keys(store: Store) -> set[str]:
    """The keys that a decided and unfinished change writes or removes."""
    change = decided_change(store)
    return {*change.files, *change.removed} if change else set()


def _register(store: Store) -> Register | None:
    try:
        return read_register(store)[0]
    except StorageError as error:
        # Of a bucket that they may not list, strangers are not told that something is not there.
        if error.exit_code != 2:
            raise
        return None


def _view(store: Store, register: Register) -> Store | None:
    """The release with the change; None where it is finished by now."""
    if register.change is None:
        return store
    try:
        change = read_change(store, register.change)
    except KeyError:
        return None
    moved = {key: staged_key(register.change.identity, key) for key in change.files}
    return _Decided(store, moved=moved)


class _Decided(Overlay):
    """What a change makes of a release; a staged file that is gone is in its place."""

    def get_with_etag(self, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        try:
            return super().get_with_etag(key, most=most)
        except KeyError:
            return self.below.get_with_etag(key, most=most)

    def get_chunks(self, key: str, *, most: int | None = None) -> Iterator[Chunk]:
        return super().get_chunks(key, most=most) if self._waits(key) else self._now(key, most)

    def open(self, key: str) -> BinaryIO:
        try:
            return super().open(key)
        except KeyError:
            return self.below.open(key)

    def look(self, key: str) -> Entry | None:
        return super().look(key) or self.below.look(key)

    def _waits(self, key: str) -> bool:
        return key in self._moved and self.below.look(self._moved[key]) is not None

    def _now(self, key: str, most: int | None) -> Iterator[Chunk]:
        return self.below.get_chunks(key, most=most)


__all__ = [
    "ChangedError",
    "ReleaseError",
    "Seen",
    "change_under_way",
    "changed_keys",
    "decided_change",
    "look_at",
]
