"""The end of the press: from the parts of a finished ledger to a release that explains itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from manifests.croissant import croissant
from manifests.documents import documents
from manifests.errors import ReleaseError
from manifests.json_text import MOST_JSON_BYTES, json_bytes, parse_json
from manifests.layout import (
    CROISSANT_KEY,
    MANIFEST_KEY,
    RELEASE_FORMAT,
    RELEASE_KEY,
    RELEASE_VERSION,
    image_path,
    participant_id,
)
from manifests.ledger import CONNECTIONS, Ledger, ShardPlan, part_key
from manifests.parquet import MOST_PART_BYTES, file_sha256, sha256, table_from_bytes
from manifests.release_document import ReleaseDocument
from manifests.release_shape import check_release
from manifests.row_files import RowFiles
from manifests.schema import SCHEMA_VERSION
from manifests.spread import spread_table
from manifests.store import Store

__all__ = ["ReleaseDocument", "finalise", "image_path", "participant_id", "read_release"]


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
        ReleaseError: a shard is not done (exit code 1), or its rows are not what the plan asks.
    """
    larger = _larger_release(store, plan, document)
    if larger is not None:
        Ledger(store).settle(larger["counts"]["samples"])
        return larger
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
        release = _write(
            store, rows, document, extra=extra or {}, shard_size=plan.shard_size, parts=parts
        )
    Ledger(store).settle(plan.n)
    store.sweep()
    return release


def write_release(
    store: Store,
    table: pa.Table,
    document: ReleaseDocument,
    *,
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write everything of a release but its images and parts; release.json last.

    Args:
        table: all rows, in order of their index.
        source: of a subset that was downloaded, where it comes from.
    """
    with RowFiles(table.schema, document.columns) as rows:
        rows.add(table)
        return _write(store, rows, document, source=source)


def _write(
    store: Store,
    rows: RowFiles,
    document: ReleaseDocument,
    *,
    extra: Mapping[str, bytes] = MappingProxyType({}),
    shard_size: int | None = None,
    parts: Sequence[dict[str, Any]] = (),
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    large = rows.close()
    counts = rows.counts
    told = documents(
        document,
        ok=counts["ok"],
        failed=counts["failed"],
        extra=set(extra),
        spread=spread_table(large[MANIFEST_KEY], document.columns),
    )
    small = {**told, **extra}
    digests = {key: file_sha256(path) for key, path in large.items()}
    described = croissant(
        document,
        ok=counts["ok"],
        manifest_sha256=digests[MANIFEST_KEY],
        manifest_bytes=large[MANIFEST_KEY].stat().st_size,
    )
    small[CROISSANT_KEY] = json_bytes(described)
    digests |= {key: sha256(data) for key, data in small.items()}
    release: dict[str, Any] = {
        "format": RELEASE_FORMAT,
        "version": RELEASE_VERSION,
        "schema_version": SCHEMA_VERSION,
        "counts": counts,
        **document.to_json(),
        **({"source": dict(source)} if source else {}),
        "shard_size": shard_size,
        "parts": list(parts),
        "files": dict(sorted(digests.items())),
    }
    for key, data in small.items():
        store.put(key, data)
    for key, path in large.items():
        store.put_file(key, path)
    store.put(RELEASE_KEY, json_bytes(release))
    return release


def read_release(store: Store) -> dict[str, Any]:
    """The content of release.json, where a reader starts.

    Raises:
        ReleaseError: there is no release there, it is not finished, or it is of a later format.
    """
    try:
        data = store.get(RELEASE_KEY, most=MOST_JSON_BYTES)
    except KeyError:
        raise ReleaseError(_why_no_release(store)) from None
    release = parse_json(data, f"{store.uri}/{RELEASE_KEY}")
    if release.get("format") != RELEASE_FORMAT:
        raise ReleaseError(f"{store.uri}/{RELEASE_KEY} is not of a brainpress release")
    if release.get("version") != RELEASE_VERSION:
        raise ReleaseError(
            f"{store.uri}: release format {release.get('version')!r}, this brainpress reads"
            f" {RELEASE_VERSION}; install a newer one"
        )
    check_release(release, store.uri)
    return release


def _why_no_release(store: Store) -> str:
    first = next(iter(store.list("manifest/")), None)
    if first is not None:
        return (
            f"{store.uri}: a release is being made here and is not finished (no {RELEASE_KEY} yet);"
            " see `brainpress status`, or run its `generate` command again"
        )
    if next(iter(store.list()), None) is None:
        return f"{store.uri}: no release there, it is empty or does not exist; check the address"
    return f"{store.uri}: no release there (no {RELEASE_KEY}); check the address"


def _larger_release(
    store: Store, plan: ShardPlan, document: ReleaseDocument
) -> dict[str, Any] | None:
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
    return release if release["counts"]["samples"] > plan.n else None


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
    if not table.schema.equals(document.schema, check_metadata=True):
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
