"""The journal of a change: what it puts in whose place, and what it removes. It never changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from manifests.changes.register import Decided, staged_key
from manifests.digests import DIGEST, sha256
from manifests.errors import ReleaseError
from manifests.format.json_text import MOST_JSON_BYTES, json_bytes, parse_json
from manifests.format.layout import RELEASE_KEY
from manifests.numbers import ranges
from manifests.storage.base import Store, check_key

PUBLISH, WITHDRAW, UNPUBLISH, GENERATE = "publish", "withdraw", "unpublish", "generate"
SEGMENT = "segment"
JOURNAL = "change.json"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a release, all of whose new files are staged.

    Attributes:
        verb: `PUBLISH`, `WITHDRAW`, `UNPUBLISH`, `GENERATE` or `SEGMENT`.
        files: digests of what it writes, by key, in order; release.json last.
        before: etags of what lay there when it was staged; "" where nothing did.
        removed: what it removes once release.json stands; etags, by key.
        reasons: of samples being withdrawn, by index.
    """

    verb: str
    files: Mapping[str, str]
    before: Mapping[str, str]
    removed: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        reasons = {str(index): reason for index, reason in sorted(self.reasons.items())}
        return json_bytes({**vars(self), "reasons": reasons})

    @property
    def told(self) -> str:
        """That it was interrupted and is finished, for people."""
        what = f": {len(self.reasons)} samples, {ranges(sorted(self.reasons))}" * bool(self.reasons)
        return f"an interrupted `brainpress {self.verb}` was finished first{what}"

    @property
    def release(self) -> str:
        """SHA-256 of the release.json that it leaves."""
        return self.files[RELEASE_KEY]


def read_change(store: Store, decided: Decided) -> Change:
    """The journal of a change that was decided.

    Raises:
        KeyError: it is not there any more.
        ReleaseError: it is not the one that was decided (exit code 1).
    """
    key = staged_key(decided.identity, JOURNAL)
    data = store.get(key, most=MOST_JSON_BYTES)
    if sha256(data) != decided.journal:
        raise _damaged(store, key)
    document = parse_json(data, f"{store.uri}/{key}")
    try:
        reasons = {int(index): str(why) for index, why in document["reasons"].items()}
        change = Change(
            verb=str(document["verb"]),
            files=_texts(document["files"]),
            before=_texts(document["before"]),
            removed=_texts(document["removed"]),
            reasons=reasons,
        )
        fits = change.release == decided.release and change.files.keys() == change.before.keys()
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _damaged(store, key) from None
    if not fits or not all(map(DIGEST.fullmatch, change.files.values())):
        raise _damaged(store, key)
    return change


def _texts(document: Any) -> dict[str, str]:
    return {check_key(key): str(text) for key, text in document.items()}


def _damaged(store: Store, key: str) -> ReleaseError:
    line = f"{store.uri}/{key} is not what was written there; see `brainpress verify`"
    return ReleaseError(line, exit_code=1)
