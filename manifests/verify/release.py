"""Checking a release: everything is read again from storage, and nothing else is believed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any

import pyarrow as pa

from manifests.digests import sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.layout import (
    MANIFEST_KEY,
    RELEASE_KEY,
)
from manifests.format.parquet import MOST_PART_BYTES, table_from_bytes
from manifests.format.schema import same_columns
from manifests.query.release import Release
from manifests.storage.base import Store
from manifests.storage.threads import OnProgress, in_threads
from manifests.verify.documents import (
    check_documents,
    check_plan,
    check_tables,
    listed_files,
    read_or_why,
)
from manifests.verify.findings import Finding, Report
from manifests.verify.images import check_images
from manifests.verify.labels import check_labels
from manifests.verify.measured import check_measured
from manifests.verify.orphans import check_orphans
from manifests.verify.remembered import Remembered
from manifests.verify.rows import check_rows
from manifests.verify.tables import read_table

__all__ = ["Finding", "Report", "open_to_verify", "verify"]

CONNECTIONS = 8


def open_to_verify(
    store: Store, *, version: str | None = None, expect: str | None = None
) -> Release | Report:
    """The release in a store; a report, where its release.json is no good.

    Args:
        version: an earlier one that was published; what lies there where None.
        expect: the SHA-256 that release.json must have.

    Raises:
        ReleaseError: there is nothing of a finished release, or the storage cannot be read.
    """
    report = Report(uri=store.uri)
    try:
        return Release.at(store, version=version, expect=expect)
    except StorageError:
        raise
    except ReleaseError as error:
        if _is_there(store, RELEASE_KEY):
            report.error("release-damaged", RELEASE_KEY, str(error))
        elif _is_there(store, MANIFEST_KEY):
            report.error("release-missing", RELEASE_KEY, str(error))
        else:
            raise
    return report


def verify(
    release: Release,
    *,
    connections: int = CONNECTIONS,
    sample: int | None = None,
    seed: int = 0,
    trusting: bool = False,
    on_progress: OnProgress | None = None,
) -> Report:
    """Read every object of a release again and check it against the manifest and release.json.

    Of a version that was published earlier: the files that are kept of it, and its images.

    Findings are in a fixed order.

    Args:
        sample: of a huge release, read only so many images, drawn with `seed`; of the others only
            presence and size, by the storage's listing. Everything else is read whole.
        trusting: do not read images again that this machine found sound and whose ETag is still
            the same. Whatever is found sound is remembered in any case.

    Raises:
        ReleaseError: the storage cannot be read.
        ChangedError: the release was changed meanwhile.
    """
    report = Report(uri=release.store.uri)
    listed = listed_files(release.store, report)
    check_documents(release, report)
    check_plan(release, report)
    table = _read_manifest(release, report)
    if table is None:
        return report
    report.samples = table.num_rows
    check_rows(release, table, report)
    _check_parts(release, table, report)
    earlier = "opened_version" in release.about
    if not earlier:  # a version keeps what its day's participants.tsv said of samples since gone
        check_tables(release, table, report)
    check_measured(release, table, report)
    space = release.about.get("space")
    with closing(Remembered.of(shlex.join(release.store.words), space)) as remembered:
        geometry = check_images(
            release.store,
            table,
            listed,
            report,
            remembered=remembered,
            trusting=trusting,
            connections=connections,
            sample=sample,
            seed=seed,
            on_progress=on_progress,
            space=space,
        )
    maps = check_labels(
        release, report, geometry=geometry, connections=connections, sample=sample, seed=seed
    )
    if not earlier:  # beside the files of a version lie those of the others
        check_orphans(release, table, listed or {}, report, maps=maps)
    release.confirm()
    return report


def _is_there(store: Store, key: str) -> bool:
    try:
        return store.look(key) is not None
    except ReleaseError:  # whoever may not list is refused what is not there
        return False


def _read_manifest(release: Release, report: Report) -> pa.Table | None:
    return read_table(
        release.store,
        MANIFEST_KEY,
        report,
        kind="manifest",
        same=lambda schema: same_columns(schema, release.schema),
        other="its columns are not those of release.json",
    )


def _check_parts(release: Release, table: pa.Table, report: Report) -> None:
    """The parts: their digests, and that together they say what the manifest says."""
    position, seen = 0, set()
    for part, data in _parts(release):
        key, size = part["key"], release.about["shard_size"]
        if key in seen:
            report.error("part-repeated", key, "release.json names it twice")
            continue
        seen.add(key)
        expected = table.slice(position, size)
        position += expected.num_rows
        _check_part(part, data, expected, report)
    if release.about["parts"] and position != table.num_rows:
        text = f"its parts have {position} of the manifest's {table.num_rows} rows"
        report.error("part-rows", RELEASE_KEY, text)


def _check_part(
    part: Mapping[str, Any], data: bytes | str | None, expected: pa.Table, report: Report
) -> None:
    key = part["key"]
    if data is None:
        report.error("part-missing", key, "release.json names it, and it is not there")
        return
    if isinstance(data, str):
        report.error("part-refused", key, data)
        return
    try:
        rows = table_from_bytes(data, key)
    except ReleaseError as error:
        report.error("part-unreadable", key, str(error))
        return
    there = rows.slice(0, expected.num_rows)
    if not there.equals(expected):
        found, wanted = _indices(there), _indices(expected)
        if found and wanted and found[0] != wanted[0]:
            text = f"it has the samples from {found[0]} on, expected those from {wanted[0]} on"
            report.error("part-misplaced", key, text)
        elif len(found) < len(wanted):
            text = f"it has {len(found)} rows, the manifest {len(wanted)}"
            report.error("part-short", key, text)
        else:
            report.error("part-rows", key, "its rows are not those of the manifest")
    elif sha256(data) != part["sha256"]:
        if rows.num_rows > part["rows"]:
            text = "it has more rows than release.json says: the release is being made larger"
            report.warning("part-grown", key, text)
        else:
            text = f"its SHA-256 is not {part['sha256']}, as release.json says"
            report.error("part-changed", key, text)


def _indices(rows: pa.Table) -> list[int]:
    return rows["index"].to_pylist() if "index" in rows.schema.names else []


def _parts(release: Release) -> Iterator[tuple[dict[str, Any], bytes | str | None]]:
    """What release.json tells of each part, and the part; few are in memory."""
    rest = iter(release.about["parts"])
    while some := list(islice(rest, CONNECTIONS)):
        stored = in_threads(lambda p: read_or_why(release.store, p["key"], MOST_PART_BYTES), some)
        yield from zip(some, stored, strict=True)
