"""Withdrawing samples that were found bad after their release: a tombstone stays, the image goes.

With it go the pictures of it, in the page, the previews and the evaluation of every version, and
what was measured on it.

Order of writes: the note that a change is under way, with the reasons; the parts; the tables, the
documents and the page; release.json; then the images are removed, and the note last. So no reader
ever has a row of the manifest whose image is gone: the row says first that it was withdrawn. A kill
at any point is mended by the same command.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.evaluation import is_evaluation
from manifests.format.layout import MEASURED_KEY, PAGE_KEY, image_path, part_key
from manifests.format.parquet import MOST_PART_BYTES, parquet_bytes, table_from_bytes
from manifests.format.tombstones import bury, tombstones
from manifests.metadata.pictures import Cleared, cleared
from manifests.metadata.rows import RowFiles
from manifests.metadata.staging import Staged, stage
from manifests.publish.checks import refuse_unfinished
from manifests.publish.evaluation import measured_without
from manifests.publish.files import (
    MakePage,
    is_version,
    make_page,
    stage_with_page,
    viewer_of,
)
from manifests.publish.journal import WITHDRAW, Change, read_change, refuse_other
from manifests.publish.samples import check_reason, indices_of
from manifests.query.release import Release
from manifests.storage.base import Store


@dataclass(kw_only=True)
class Withdrawal:
    """What was withdrawn, or would be.

    Attributes:
        withdrawn: samples, by index, and why.
        already: samples that were withdrawn before.
        removed: keys of what is gone: images, and pictures that may show them.
        cleared: keys of reports and tables, of any version, that told of them and do no more.
        parts: keys of the parts that changed.
        mended: whether an earlier withdrawal was interrupted, and is finished now.
    """

    withdrawn: dict[int, str] = field(default_factory=dict)
    already: list[int] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    mended: bool = False


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part with its tombstones: what is there, by etag, and the bytes to put in its place."""

    key: str
    etag: str
    data: bytes
    changed: bool


def withdraw(
    release: Release,
    samples: Sequence[str],
    reason: str,
    *,
    dry_run: bool = False,
    page: MakePage = make_page,
) -> Withdrawal:
    """Withdraw samples of a release, by their participant_id; nothing where that was done.

    Args:
        reason: for readers, in the manifest and in CHANGES.
        page: makes the files of the release's page, where it has one.

    Raises:
        ReleaseError: an unknown sample, no reason, nothing would be left; a release that is not
            finished, or is a part of another; a place that cannot be written to.
    """
    store, why = release.store, check_reason(reason)
    refuse_unfinished(release, WITHDRAW)
    asked = indices_of(release, samples)
    begun = read_change(store)
    refuse_other(store, begun, WITHDRAW)
    if not dry_run:
        store.check_writable()
    table = release.query()
    gone = tombstones(table)
    reasons = {index: why for index in asked if index not in gone}
    if begun is not None:
        reasons |= begun.reasons
    done = Withdrawal(
        withdrawn=dict(sorted(reasons.items())),
        already=[index for index in asked if index not in reasons],
        mended=begun is not None,
    )
    buried = bury(table, reasons)
    written = begun.files if begun else {}
    told = cleared(store, release.about["files"], set(tombstones(buried)), written=written)
    done.cleared = [key for key in told.shown if key not in told.removed]
    left = set(_left(store, done.already))
    if not reasons and not told.shown:
        done.removed = sorted(left)
        if not dry_run:
            for key in done.removed:
                store.delete(key)
        return done
    parts = _parts(release, reasons)
    with _staged(release, buried, parts, told, page=page) as staged:
        there = set(table["path"].to_pylist())
        images = {path for path in map(image_path, reasons) if begun or path in there} | left
        stale = set(release.about["files"]) | set(begun.removed if begun else ()) | images
        done.removed = sorted(stale - set(staged.about["files"]))
        done.parts = [part.key for part in parts if part.changed]
        if not dry_run:
            _write(store, staged, parts, reasons, done.removed)
    return done


def _left(store: Store, indices: Sequence[int]) -> list[str]:
    """The images of withdrawn samples that are still there."""
    found = []
    for key in map(image_path, indices):
        try:
            store.open(key).close()
        except KeyError:
            continue
        found.append(key)
    return found


def _parts(release: Release, reasons: Mapping[int, str]) -> list[_Part]:
    """The parts in which those samples are, with tombstones."""
    store, size, parts = release.store, release.about["shard_size"], []
    for shard in sorted({index // size for index in reasons}):
        key = part_key(shard)
        try:
            data, etag = store.get_with_etag(key, most=MOST_PART_BYTES)
        except KeyError:
            line = f"{store.uri}/{key} is missing; see `brainpress verify`"
            raise ReleaseError(line, exit_code=1) from None
        table = table_from_bytes(data, f"{store.uri}/{key}")
        buried = bury(table, reasons)
        changed = buried is not table
        new = parquet_bytes(buried) if changed else data
        parts.append(_Part(key=key, etag=etag, data=new, changed=changed))
    return parts


@contextmanager
def _staged(
    release: Release, table: pa.Table, parts: Sequence[_Part], told: Cleared, *, page: MakePage
) -> Iterator[Staged]:
    """The files of the release without those samples.

    Args:
        told: what becomes of its evaluations.
    """
    store, about, document = release.store, release.about, release.document
    digests = {part.key: sha256(part.data) for part in parts}
    shards: dict[str, Any] = {
        "shard_size": about["shard_size"],
        "parts": [{**p, "sha256": digests.get(p["key"], p["sha256"])} for p in about["parts"]],
        "kept": {
            key: digest
            for key, digest in about["files"].items()
            if (is_version(key) or (is_evaluation(key) and key != MEASURED_KEY))
            and key not in told.removed
            and key not in told.files
        },
    }
    carried = dict(told.files)
    if MEASURED_KEY in about["files"]:
        carried[MEASURED_KEY] = measured_without(release, set(tombstones(table)))
    with RowFiles(table.schema, document.columns) as rows:
        rows.add(table)
        large = rows.close()
        if not rows.counts["ok"]:
            raise ReleaseError(
                f"{store.uri}: no image would be left; remove the release instead, or make another"
            )
        if PAGE_KEY not in about["files"]:
            yield stage(document, large, rows.counts, extra=carried, **shards)
            return
        with viewer_of(release) as viewer:
            yield stage_with_page(
                store,
                document,
                large,
                rows.counts,
                page=page,
                viewer=viewer,
                carried=carried,
                **shards,
            )


def _write(
    store: Store,
    staged: Staged,
    parts: Sequence[_Part],
    reasons: Mapping[int, str],
    removed: Sequence[str],
) -> None:
    files = {key: staged.about["files"][key] for key in {**staged.small, **staged.large}}
    change = Change(verb=WITHDRAW, files=files, removed=tuple(removed), reasons=reasons)
    change.write(store)
    for part in parts:
        if part.changed and not store.replace(part.key, part.data, etag=part.etag):
            raise ReleaseError(
                f"{store.uri}/{part.key} was changed by somebody else just now; run the same"
                " command again",
                exit_code=1,
            )
    staged.write(store)
    change.finish(store)


__all__ = ["Withdrawal", "withdraw"]
