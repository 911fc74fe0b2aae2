"""The one object that says who changes a release, and which change of it was decided.

Every step of a change is a compare-and-swap of this object, so it has one history that all agree
on. It is there only while somebody changes the release, or after he died.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from manifests.changes.holder import Holder
from manifests.digests import DIGEST
from manifests.errors import ReleaseError
from manifests.format.json_text import json_bytes, parse_json
from manifests.storage.base import LEASE_KEY, Store
from manifests.text import is_plain

MOST_BYTES = 1 << 16
STAGED = "manifest/change"  # under it, by identity, what a change will put in its place
_IDENTITY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A change that was decided: whoever comes next finishes it.

    Attributes:
        identity: of the lease under which it was staged.
        journal: SHA-256 of its journal.
        release: SHA-256 of the release.json that it will leave.
    """

    identity: str
    journal: str
    release: str


@dataclass(frozen=True, kw_only=True)
class Register:
    """What the object says.

    Attributes:
        identity: of the lease, never used twice.
        beat: how often the object was written under this lease.
        holder: None where it was given back.
        verb: what the holder does.
        since: when the lease was taken, by the holder's clock; for people.
        change: what was decided and is not finished.
    """

    identity: str
    beat: int
    holder: Holder | None
    verb: str
    since: str
    change: Decided | None = None

    def to_bytes(self) -> bytes:
        return json_bytes(
            {
                "format": "brainpress-lease",
                "identity": self.identity,
                "beat": self.beat,
                "verb": self.verb,
                "since": self.since,
                "holder": self.holder.to_json() if self.holder else None,
                "change": dict(vars(self.change)) if self.change else None,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Register:
        """Raises ReleaseError where it is none (exit code 1)."""
        document = parse_json(data, place)
        try:
            holder, change = document.get("holder"), document.get("change")
            return cls(
                identity=_matching(document.get("identity"), _IDENTITY),
                beat=int(document["beat"]),
                verb=_line(document.get("verb")),
                since=_line(document.get("since")),
                holder=None if holder is None else Holder.from_json(holder),
                change=None if change is None else _decided(change),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            line = f"{place} is damaged: nobody can say who changes the release, or changed it last"
            raise ReleaseError(
                f"{line}; when no such command runs, remove it and run `brainpress verify`",
                exit_code=1,
            ) from None


def read_register(store: Store) -> tuple[Register | None, str]:
    """What the object says, and its etag; None and "" where it is not there.

    Raises:
        ReleaseError: it is damaged, or cannot be read.
    """
    try:
        data, etag = store.get_with_etag(LEASE_KEY, most=MOST_BYTES)
    except KeyError:
        return None, ""
    return Register.from_bytes(data, f"{store.uri}/{LEASE_KEY}"), etag


def staged_key(identity: str, key: str) -> str:
    """Where a file of a change waits."""
    return f"{STAGED}/{identity}/{key}"


def _decided(document: Any) -> Decided:
    return Decided(
        identity=_matching(document.get("identity"), _IDENTITY),
        journal=_matching(document.get("journal"), DIGEST),
        release=_matching(document.get("release"), DIGEST),
    )


def _matching(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!a:.60}")
    return value


def _line(value: Any) -> str:
    if not isinstance(value, str) or not is_plain(value):
        raise ValueError(f"{value!a:.60}")
    return value
