"""How far a release is, as its storage alone tells: what is there, what is missing, how fast."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from manifests.errors import ReleaseError
from manifests.format.layout import RELEASE_KEY
from manifests.format.parquet import read_columns
from manifests.format.published import Published, changed_since
from manifests.format.release_json import read_release
from manifests.format.schema import FAILED
from manifests.ledger.ledger import Ledger
from manifests.ledger.plan import ShardPlan
from manifests.ledger.segmentation.progress import count_maps
from manifests.query.release import Release
from manifests.storage.base import Entry, Store
from manifests.storage.threads import in_threads

WINDOW_SECONDS = 600.0
# Without a commit for so long, and for so many times the usual, nobody is at work.
QUIET_SECONDS, QUIET_TIMES = 60.0, 5.0


class State(StrEnum):
    """Of a shard."""

    DONE = "done"
    SHORT = "short"  # the last of an earlier, smaller plan: begun, and to be completed
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class ShardStatus:
    """One shard: how many of its samples are committed, of them failed, and when (UTC, ISO)."""

    shard: int
    first: int
    last: int
    state: State
    done: int
    failed: int
    committed: str | None


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is stored of a release.

    Attributes:
        samples: asked for; None where nobody told.
        done, failed, missing: samples in the ledger; of them without an image; not there.
        shards, shards_done, shards_pending: None where `samples` is.
        missing_shards: those pending, in order.
        rate: samples a second over the last ten minutes in which any were committed.
        seconds_left: at that rate; None where there is none, or nobody is at work.
        last_commit: UTC, ISO; None before the first.
        quiet_seconds: since then; None likewise.
        at_work: whether commits come as they did, as far as the storage's clock can tell.
        published: the version under which it was published last, and whether it was closed since;
            None where it was not.
        changed: what has become of it since; None where nothing.
        finished: whether release.json stands and covers all that was asked for.
        by_shard: every shard, where it was asked for.
        maps, to_segment: images that have a label map, and that lack one; None where nobody began
            to make any.
    """

    uri: str
    samples: int | None
    done: int
    failed: int
    missing: int | None
    shard_size: int
    shards: int | None
    shards_done: int | None
    shards_pending: int | None
    missing_shards: list[int]
    rate: float | None
    seconds_left: float | None
    last_commit: str | None
    quiet_seconds: float | None
    at_work: bool
    finished: bool
    by_shard: list[ShardStatus] | None = None
    published: str | None = None
    changed: str | None = None
    maps: int | None = None
    to_segment: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A committed part: its rows, how many of them failed, when it was written."""

    rows: int
    failed: int
    modified: float


def read_status(
    store: Store, *, n: int | None = None, by_shard: bool = False, now: float | None = None
) -> Status:
    """The state of the release in `store`, for `n` samples or as many as were asked for last.

    Each part's column of states is read, nothing else but the plan and release.json.

    Args:
        by_shard: tell of every shard too.
        now: seconds since 1970.

    Raises:
        ReleaseError: no release was begun there.
    """
    ledger = Ledger(store)
    plan = ledger.plan()
    if plan is None:
        if _has_release(store):
            raise ReleaseError(f"{store.uri} is a downloaded part of a release: see `info`")
        raise ReleaseError(f"{store.uri}: no release was begun there; check the address")
    about = read_release(store) if _has_release(store) else None
    released = about["counts"]["samples"] if about else None
    published = Published.from_json(about.get("published")) if about else None
    wanted = n or ledger.target() or released
    parts = _parts(ledger)
    done = sum(part.rows for part in parts.values())
    shards = ShardPlan(wanted, int(plan["shard_size"])) if wanted else None
    states = [_shard(shards, s, parts.get(s)) for s in range(shards.count)] if shards else []
    pending = [state.shard for state in states if state.state is not State.DONE]
    missing = sum(s.last - s.first + 1 - s.done for s in states)
    rate, usual = pace(parts.values())
    last = max((part.modified for part in parts.values()), default=None)
    quiet = None if last is None else max(0.0, (now or time.time()) - last)
    maps, to_segment = count_maps(Release(store, about)) if about else (None, None)
    at_work = bool(pending) and quiet is not None and quiet < max(QUIET_SECONDS, usual)
    return Status(
        uri=store.uri,
        samples=wanted,
        done=done,
        failed=sum(part.failed for part in parts.values()),
        missing=missing if shards else None,
        shard_size=int(plan["shard_size"]),
        shards=shards.count if shards else None,
        shards_done=shards.count - len(pending) if shards else None,
        shards_pending=len(pending) if shards else None,
        missing_shards=pending,
        rate=rate,
        seconds_left=missing / rate if rate and at_work else None,
        last_commit=_utc(last),
        quiet_seconds=quiet,
        at_work=at_work,
        finished=released is not None and wanted is not None and released >= wanted,
        by_shard=states if by_shard else None,
        published=_told(published) if published else None,
        changed=changed_since(about, published) if about else None,
        maps=maps,
        to_segment=to_segment,
    )


def pace(parts: Iterable[_Part]) -> tuple[float | None, float]:
    """Samples a second over the window that the last commit ends, and what would be a long pause.

    The first commit of the window only starts the clock: what it brought was made before.
    """
    ordered = sorted(parts, key=lambda part: part.modified)
    if not ordered:
        return None, 0.0
    last = ordered[-1].modified
    window = [part for part in ordered if part.modified >= last - WINDOW_SECONDS]
    span = last - window[0].modified
    if span <= 0:
        return None, WINDOW_SECONDS
    made = sum(part.rows for part in window if part.modified > window[0].modified)
    return made / span, QUIET_TIMES * span / (len(window) - 1)


def _parts(ledger: Ledger) -> dict[int, _Part]:
    def counted(entry: Entry) -> _Part:
        states = read_columns(ledger.store, entry.key, columns=["status"])["status"].to_pylist()
        failed = states.count(FAILED)
        return _Part(rows=len(states), failed=failed, modified=entry.modified)

    found = ledger.parts()
    return dict(zip(found, in_threads(counted, found.values()), strict=True))


def _shard(plan: ShardPlan, shard: int, part: _Part | None) -> ShardStatus:
    indices = plan.indices(shard)
    rows = 0 if part is None else min(part.rows, len(indices))
    whole = State.DONE if rows == len(indices) else State.SHORT
    return ShardStatus(
        shard=shard,
        first=indices[0],
        last=indices[-1],
        state=State.MISSING if part is None else whole,
        done=rows,
        failed=part.failed if part else 0,
        committed=_utc(part.modified if part else None),
    )


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _has_release(store: Store) -> bool:
    try:
        store.open(RELEASE_KEY).close()
    except KeyError:
        return False
    return True


def _told(published: Published) -> str:
    closed = f", unpublished on {published.closed.date}" if published.closed else ""
    return f"{published.last.version}{closed}"
