"""The note of a change to a finished release that is under way: what it is and what it will write.

It is written first and removed last. So the same command, run again after a kill, can tell what it
wrote itself from what somebody else changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from manifests.errors import ReleaseError
from manifests.format.json_text import MOST_JSON_BYTES, json_bytes, parse_json
from manifests.format.layout import CHANGE_KEY
from manifests.storage.base import Store, check_key

PUBLISH, WITHDRAW, UNPUBLISH = "publish", "withdraw", "unpublish"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change under way.

    Attributes:
        verb: `PUBLISH`, `WITHDRAW` or `UNPUBLISH`.
        files: digests of what it writes, by key.
        removed: keys of what it removes, once release.json stands.
        reasons: of samples being withdrawn, by index.
    """

    verb: str
    files: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)

    def write(self, store: Store) -> None:
        reasons = {str(index): reason for index, reason in sorted(self.reasons.items())}
        document = {
            "verb": self.verb,
            "files": dict(self.files),
            "removed": list(self.removed),
            "reasons": reasons,
        }
        store.put(CHANGE_KEY, json_bytes(document))

    def finish(self, store: Store) -> None:
        """Remove what is to go, and the note last."""
        for key in self.removed:
            store.delete(key)
        store.delete(CHANGE_KEY)
        store.sweep()


def read_change(store: Store) -> Change | None:
    """The change that was begun and not finished; None where there is none.

    Raises:
        ReleaseError: the note is no note of ours (exit code 1).
    """
    try:
        document = parse_json(store.get(CHANGE_KEY, most=MOST_JSON_BYTES), CHANGE_KEY)
    except KeyError:
        return None
    files, reasons = _texts(document.get("files")), _texts(document.get("reasons"))
    removed = document.get("removed")
    gone = removed if isinstance(removed, list) else []
    numbers = {int(index): why for index, why in reasons.items() if index.isdecimal() and why}
    if document.get("verb") not in (PUBLISH, WITHDRAW, UNPUBLISH) or len(numbers) < len(reasons):
        raise ReleaseError(f"{store.uri}/{CHANGE_KEY} is damaged: remove it and go on", exit_code=1)
    keys = tuple(check_key(key) for key in gone if isinstance(key, str))
    return Change(verb=document["verb"], files=files, removed=keys, reasons=numbers)


def refuse_other(store: Store, change: Change | None, verb: str) -> None:
    """Raise where another verb's change was begun here: it must be finished first."""
    if change is not None and change.verb != verb:
        raise ReleaseError(
            f"{store.uri}: `brainpress {change.verb}` was interrupted here; run that command again,"
            f" then `{verb}`",
            exit_code=1,
        )


def _texts(document: Any) -> dict[str, str]:
    if not isinstance(document, dict):
        return {}
    return {key: text for key, text in document.items() if isinstance(text, str)}
