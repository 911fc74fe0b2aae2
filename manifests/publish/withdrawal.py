"""Withdrawing samples that were found bad after their release: a tombstone stays, the image goes.

With it go the pictures of it, in the page, the previews and the evaluation of every version, what
was measured on it, its label map and the volumes of its regions.

It is one change of `manifests.changes`: the parts, the tables, the documents and the page are put
in their place, then release.json, and only then the images are removed. So no reader ever has a row
of the manifest whose image is gone: the row says first that it was withdrawn. What a kill leaves is
finished by whoever changes the release next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from manifests.changes.changing import Changing, changing
from manifests.changes.journal import WITHDRAW
from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.evaluation import is_evaluation
from manifests.format.layout import MEASURED_KEY, PAGE_KEY, part_key
from manifests.format.parquet import MOST_PART_BYTES, parquet_bytes, table_from_bytes
from manifests.format.segmentation.layout import is_segmentation
from manifests.format.tombstones import bury, paths, tombstones
from manifests.ledger.segmentation.progress import left_of
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
from manifests.publish.samples import check_reason, indices_of
from manifests.query.release import Release
from manifests.storage.base import Store


@dataclass(kw_only=True)
class Withdrawal:
    """What was withdrawn, or would be.

    Attributes:
        withdrawn: samples, by index, and why.
        already: samples that were withdrawn before.
        removed: keys of what is gone: images, their label maps, and pictures that may show them.
        cleared: keys of reports and tables, of any version, that told of them and do no more.
        parts: keys of the parts that changed.
        mended: which interrupted change was finished first, in words.
    """

    withdrawn: dict[int, str] = field(default_factory=dict)
    already: list[int] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    mended: str = ""


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
        HeldError: somebody else changes the release now.
        ReleaseError: an unknown sample, no reason, nothing would be left; a release that is not
            finished, or is a part of another; a place that cannot be written to.
    """
    why = check_reason(reason)
    if dry_run:
        return _withdraw(release, samples, why, None, page=page)
    release.place.check_writable()
    with changing(release.place, WITHDRAW) as work:
        return _withdraw(Release.at(work.store), samples, why, work, page=page)


def _withdraw(
    release: Release, samples: Sequence[str], why: str, work: Changing | None, *, page: MakePage
) -> Withdrawal:
    """As of `withdraw`; without `work` nothing is written."""
    refuse_unfinished(release, WITHDRAW)
    asked = indices_of(release, samples)
    table = release.query()
    gone = tombstones(table)
    where = paths(table, release.document.suffixes)
    reasons = {index: why for index in asked if index not in gone}
    mended = work.mended if work else None
    before = mended.reasons if mended else {}
    done = Withdrawal(
        withdrawn=dict(sorted({**before, **reasons}.items())),
        already=[index for index in asked if index not in reasons and index not in before],
        removed=sorted(mended.removed) if mended else [],
        mended=mended.told if mended else "",
    )
    buried = bury(table, reasons)
    told = cleared(release.store, release.about["files"], set(tombstones(buried)))
    done.cleared = [key for key in told.shown if key not in told.removed]
    left = _left(release.store, [where[index] for index in done.already])
    left += left_of(release.store, tombstones(buried))
    if not reasons and not told.shown:
        done.removed = sorted({*done.removed, *left})
        if work is not None:
            work.remove(left)
        return done
    parts = _parts(release, reasons)
    with _staged(release, buried, parts, told, page=page) as staged:
        there = set(table["path"].to_pylist())
        images = {where[index] for index in reasons if where[index] in there} | set(left)
        stale = (set(release.about["files"]) | images) - set(staged.about["files"])
        done.removed = sorted({*done.removed, *stale})
        changed = [part for part in parts if part.changed]
        done.parts = [part.key for part in changed]
        if work is not None:
            work.commit(
                WITHDRAW,
                {**{part.key: part.data for part in changed}, **staged.files},
                staged.release_json,
                removed=sorted(stale),
                reasons=reasons,
                read={part.key: part.etag for part in changed},
            )
    return done


def _left(store: Store, keys: Sequence[str]) -> list[str]:
    """The images of withdrawn samples that are still there."""
    found = []
    for key in keys:
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
            if (is_version(key) or is_evaluation(key) or is_segmentation(key))
            and key not in (MEASURED_KEY, *told.removed, *told.files)
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


__all__ = ["Withdrawal", "withdraw"]
