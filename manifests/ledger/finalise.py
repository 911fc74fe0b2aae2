"""The end of the press: from the parts of a finished ledger to a release that explains itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from manifests.changes.changing import Changing, changing
from manifests.changes.journal import GENERATE
from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.document import ReleaseDocument
from manifests.format.layout import (
    MANIFEST_KEY,
    PARTICIPANTS_KEY,
    RELEASE_KEY,
    part_key,
)
from manifests.format.parquet import MOST_PART_BYTES, table_from_bytes
from manifests.format.release_json import read_release
from manifests.format.schema import same_columns
from manifests.format.segmentation.layout import is_segmentation
from manifests.ledger.ledger import Ledger
from manifests.ledger.plan import ShardPlan
from manifests.metadata.bids import is_document
from manifests.metadata.rows import RowFiles
from manifests.metadata.staging import stage
from manifests.storage.base import Store
from manifests.storage.threads import CONNECTIONS

WAIT_SECONDS = 600.0  # for a publish or a withdraw that is under way
ROW_FILES = (MANIFEST_KEY, PARTICIPANTS_KEY)


def finalise(
    store: Store,
    plan: ShardPlan,
    document: ReleaseDocument,
    *,
    extra: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Close the release of `plan`: write its manifest, its BIDS metadata and, last, release.json.

    Doing it again writes the same bytes. A release that is larger already stays as it is.

    Args:
        extra: further files, such as previews, by key.

    Returns:
        The content of release.json.

    Raises:
        HeldError: somebody else changes the release, for longer than `WAIT_SECONDS`.
        ReleaseError: a shard is not done (exit code 1), or its rows are not what the plan asks.
    """
    with changing(store, GENERATE, wait_seconds=WAIT_SECONDS) as work:
        return close(work, plan, document, extra=extra)


def close(
    work: Changing,
    plan: ShardPlan,
    document: ReleaseDocument,
    *,
    extra: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """As of `finalise`, by whoever has the right to change the release already."""
    store, extra = work.store, dict(extra or {})
    current = _current_release(store, document)
    if current is not None and current["counts"]["samples"] > plan.n:
        Ledger(store).settle(current["counts"]["samples"])
        return current
    kept = {}
    if current is not None:
        document = document.grown_from(ReleaseDocument.from_json(current))
        kept = _kept_files(current, {*extra, *ROW_FILES}, published=bool(document.published))
    parts: list[dict[str, Any]] = []
    absent: list[int] = []
    with RowFiles(document.schema, document.columns) as rows:
        for shard, found in enumerate(_parts(store, plan, document)):
            if found is None:
                absent.append(shard)
            elif not absent:
                part, table = found
                parts.append(part)
                rows.add(table)
        if absent:
            Ledger(store).distrust()
            raise ReleaseError(
                f"{store.uri}: {len(absent)} of {plan.count} shards are not done (first:"
                f" {absent[0]}); run the same command again",
                exit_code=1,
            )
        staged = stage(
            document,
            rows.close(),
            rows.counts,
            extra=extra,
            kept=kept,
            shard_size=plan.shard_size,
            parts=parts,
        )
        if current is None:
            work.create(staged.files, staged.release_json)
        else:
            work.commit(GENERATE, staged.files, staged.release_json)
    Ledger(store).settle(plan.n)
    return dict(staged.about)


def _current_release(store: Store, document: ReleaseDocument) -> dict[str, Any] | None:
    """The release.json that is there; None where none is. One of other samples is an error."""
    try:
        store.get(RELEASE_KEY)
    except KeyError:
        return None
    release = read_release(store)
    if release["fingerprint"] != document.fingerprint:
        raise ReleaseError(
            f"{store.uri} holds a release with fingerprint {release['fingerprint']}, not"
            f" {document.fingerprint}; choose another place"
        )
    return release


def _kept_files(
    current: Mapping[str, Any], written: set[str], *, published: bool
) -> dict[str, str]:
    """Digests of what a release has more: its label maps; published, page and earlier versions."""
    more = {k: v for k, v in current["files"].items() if k not in written and not is_document(k)}
    return more if published else {k: v for k, v in more.items() if is_segmentation(k)}


def _parts(
    store: Store, plan: ShardPlan, document: ReleaseDocument
) -> Iterator[tuple[dict[str, Any], pa.Table] | None]:
    """Each part and its rows, in order; few are in memory, and the next are read meanwhile."""
    ahead: deque[Future[tuple[dict[str, Any], pa.Table] | None]] = deque()
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        for shard in range(plan.count):
            ahead.append(pool.submit(_read_part, store, plan, shard, document))
            if len(ahead) == 2 * CONNECTIONS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_part(
    store: Store, plan: ShardPlan, shard: int, document: ReleaseDocument
) -> tuple[dict[str, Any], pa.Table] | None:
    """What release.json tells of a part, and the rows that the plan asks of it; None if absent."""
    key, indices = part_key(shard), plan.indices(shard)
    try:
        data = store.get(key, most=MOST_PART_BYTES)
    except KeyError:
        return None
    table = table_from_bytes(data, f"{store.uri}/{key}")
    if not same_columns(table.schema, document.schema):
        raise ReleaseError(
            f"{store.uri}/{key}: its columns are not those of this release; it was made with"
            " another model or version",
            exit_code=1,
        )
    if table.num_rows < len(indices):
        return None
    rows = table.slice(0, len(indices))
    if rows["index"].to_pylist() != list(indices):
        raise ReleaseError(
            f"{store.uri}/{key}: expected the samples {indices[0]} to {indices[-1]} in order",
            exit_code=1,
        )
    return {"key": key, "sha256": sha256(data), "rows": table.num_rows}, rows
