"""Whether a folder is the same one for two machines: what one writes there, the other reads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import uuid4

from manifests.errors import ReleaseError
from manifests.storage.base import Store
from manifests.storage.local import passing_key

# A network file system may show a new file some seconds late.
PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Note:
    """A file of random content, left in a folder for another machine to read.

    Attributes:
        key: where in the folder.
        text: what it says, and nobody could know who does not read it.
    """

    key: str
    text: str

    @classmethod
    def left(cls, store: Store) -> Note:
        """A new one.

        Raises:
            ReleaseError: the folder cannot be written to.
        """
        text = uuid4().hex
        note = cls(key=passing_key(f"note-{text[:8]}"), text=text)
        note.leave(store)
        return note

    def leave(self, store: Store) -> None:
        """Write it, again where it was swept."""
        store.put(self.key, self.text.encode())

    def is_read(self, store: Store) -> bool:
        """Whether it is read in the folder as this machine sees it; waits for it a little."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if store.get(self.key) == self.text.encode():
                    return True
            except (KeyError, ReleaseError):
                pass  # no such folder, or one of another user's
            if time.monotonic() > until:
                return False
            time.sleep(POLL_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What a worker says of the folder of its release.

    Attributes:
        host: its machine.
        why_not: why its machine does not share the folder; empty where it does, as far as it can
            tell.
        note: what it left there, for the driver to read.
    """

    host: str
    why_not: str = ""
    note: Note | None = None


def reach(store: Store, left: Note, host: str) -> Reached:
    """Read what the driver left in the folder, and leave a note there for it."""
    if not left.is_read(store):
        return Reached(host=host, why_not="what is written there elsewhere is not seen on it")
    try:
        return Reached(host=host, note=Note.left(store))
    except ReleaseError as error:
        return Reached(host=host, why_not=str(error))
