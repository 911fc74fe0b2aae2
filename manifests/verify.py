"""Checking a release: everything is read again from storage, and nothing else is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.documents import participants_tsv
from manifests.errors import ReleaseError, StorageError
from manifests.findings import Finding, Report
from manifests.layout import MANIFEST_KEY, MOST_IMAGE_BYTES, PARTICIPANTS_KEY, RELEASE_KEY
from manifests.ledger import PLAN_KEY, TARGET_KEY, in_threads, shard_of
from manifests.parquet import MOST_FILE_BYTES, MOST_PART_BYTES, sha256, table_from_bytes
from manifests.query import Release
from manifests.schema import OK
from manifests.store import Store, TooLargeError
from manifests.verify_rows import check_rows
from manifests.volume_check import Geometry, check_volume

CONNECTIONS = 8
OWN_KEYS = {RELEASE_KEY, PLAN_KEY, TARGET_KEY}

OnProgress = Callable[[int, int, int], None]


def verify(
    release: Release, *, connections: int = CONNECTIONS, on_progress: OnProgress | None = None
) -> Report:
    """Read every object of a release again and check it against the manifest and release.json.

    Findings are in a fixed order. Raises ReleaseError only where the storage cannot be read.
    """
    report = Report(uri=release.store.uri)
    keys = _list(release.store, report)
    _check_files(release, report)
    table = _read_manifest(release, report)
    if table is None:
        return report
    report.samples = table.num_rows
    check_rows(release, table, report)
    _check_parts(release, table, report)
    _check_participants(release, table, report)
    _check_images(release.store, table, report, connections, on_progress)
    _check_orphans(release, table, keys, report)
    return report


def _list(store: Store, report: Report) -> set[str]:
    try:
        return {entry.key for entry in store.list()}
    except ReleaseError as error:
        if error.exit_code == 1:  # the storage is away
            raise
        report.warning("not-listed", "", f"what does not belong cannot be found: {error}")
        return set()


def _get(store: Store, key: str, most: int = MOST_FILE_BYTES) -> bytes | str | None:
    """What lies at `key`; in words why nobody should read it; None where nothing does."""
    try:
        return store.get(key, most=most)
    except KeyError:
        return None
    except ReleaseError as error:
        if isinstance(error, StorageError):  # which says nothing about the release
            raise
        return str(error)


def _check_files(release: Release, report: Report) -> None:
    """The documents that release.json gives digests of."""
    for key, digest in release.about["files"].items():
        data = _get(release.store, key)
        if data is None:
            report.error("file-missing", key, "release.json names it, and it is not there")
        elif isinstance(data, str):
            report.error("file-refused", key, data)
        elif sha256(data) != digest:
            report.error("file-changed", key, f"its SHA-256 is not {digest}, as release.json says")


def _read_manifest(release: Release, report: Report) -> pa.Table | None:
    data = _get(release.store, MANIFEST_KEY)
    if not isinstance(data, bytes):  # as told of the files that release.json names
        return None
    try:
        table = table_from_bytes(data, MANIFEST_KEY)
    except ReleaseError as error:
        report.error("manifest-unreadable", MANIFEST_KEY, str(error))
        return None
    if not table.schema.equals(release.schema, check_metadata=True):
        report.error("manifest-schema", MANIFEST_KEY, "its columns are not those of release.json")
        return None
    return table


def _check_parts(release: Release, table: pa.Table, report: Report) -> None:
    """The parts: their digests, and that together they say what the manifest says."""
    position = 0
    for part, data in _parts(release):
        key, size = part["key"], release.about["shard_size"]
        expected = table.slice(position, size)
        position += expected.num_rows
        if data is None:
            report.error("part-missing", key, "release.json names it, and it is not there")
            continue
        if isinstance(data, str):
            report.error("part-refused", key, data)
            continue
        try:
            rows = table_from_bytes(data, key)
        except ReleaseError as error:
            report.error("part-unreadable", key, str(error))
            continue
        if not rows.slice(0, expected.num_rows).equals(expected):
            report.error("part-rows", key, "its rows are not those of the manifest")
        elif sha256(data) != part["sha256"]:
            if rows.num_rows > part["rows"]:
                text = "it has more rows than release.json says: the release is being made larger"
                report.warning("part-grown", key, text)
            else:
                text = f"its SHA-256 is not {part['sha256']}, as release.json says"
                report.error("part-changed", key, text)
    if release.about["parts"] and position != table.num_rows:
        text = f"its parts have {position} of the manifest's {table.num_rows} rows"
        report.error("part-rows", RELEASE_KEY, text)


def _parts(release: Release) -> Iterator[tuple[dict[str, Any], bytes | str | None]]:
    """What release.json tells of each part, and the part; few are in memory."""
    rest = iter(release.about["parts"])
    while some := list(islice(rest, CONNECTIONS)):
        stored = in_threads(lambda p: _get(release.store, p["key"], MOST_PART_BYTES), some)
        yield from zip(some, stored, strict=True)


def _check_participants(release: Release, table: pa.Table, report: Report) -> None:
    data = _get(release.store, PARTICIPANTS_KEY)
    if data is None:
        if PARTICIPANTS_KEY not in release.about["files"]:
            report.error("file-missing", PARTICIPANTS_KEY, "it is not there")
        return
    if isinstance(data, bytes) and data != participants_tsv(table, release.document.columns):
        report.error("participants", PARTICIPANTS_KEY, "it does not say what the manifest says")


def _check_images(
    store: Store,
    table: pa.Table,
    report: Report,
    connections: int,
    on_progress: OnProgress | None,
) -> None:
    """Every image: there, the right bytes, readable, on the same grid as the others."""
    rows = table.filter(pc.equal(table["status"], OK)).select(["path", "bytes", "sha256"])
    geometries: dict[Geometry, str] = {}
    with ThreadPoolExecutor(connections) as pool:
        rest = iter(rows.to_pylist())
        # Few at a time, so that few images are in memory.
        while batch := list(islice(rest, 4 * connections)):
            results = pool.map(lambda row: _check_image(store, row), batch)
            for row, (findings, geometry) in zip(batch, results, strict=True):
                report.findings += findings
                report.images += 1
                report.image_bytes += row["bytes"] or 0
                if geometry is not None:
                    geometries.setdefault(geometry, row["path"])
            if on_progress:
                on_progress(report.images, rows.num_rows, report.image_bytes)
    first, *others = geometries.values() or [""]
    for path in others:
        text = f"its grid, type or scaling is not that of {first}"
        report.error("image-geometry", path, text)


def _check_image(store: Store, row: dict[str, Any]) -> tuple[list[Finding], Geometry | None]:
    key = row["path"] or ""
    try:
        data = store.get(key, most=MOST_IMAGE_BYTES)
    except KeyError:
        return [Finding("error", "image-missing", key, "the manifest names it")], None
    except TooLargeError as error:
        return [Finding("error", "image-size", key, str(error))], None
    except ReleaseError as error:
        if isinstance(error, StorageError):  # which says nothing about the release
            raise
        return [Finding("error", "image-key", key, str(error))], None
    findings = []
    if len(data) != row["bytes"]:
        text = f"it has {len(data)} bytes, the manifest says {row['bytes']}"
        findings.append(Finding("error", "image-size", key, text))
    elif sha256(data) != row["sha256"]:
        text = f"its SHA-256 is {sha256(data)}, the manifest says {row['sha256']}"
        findings.append(Finding("error", "image-changed", key, text))
    geometry, problem = check_volume(data)
    if problem:
        findings.append(Finding("error", "image-content", key, problem))
    return findings, geometry


def _check_orphans(release: Release, table: pa.Table, keys: set[str], report: Report) -> None:
    """What lies there and is not of the release."""
    known = OWN_KEYS | set(release.about["files"]) | set(table["path"].to_pylist())
    known |= {part["key"] for part in release.about["parts"]}
    for key in sorted(keys - known):
        if shard_of(key) is not None:
            text = "a part that release.json does not name: the release is being made larger"
            report.warning("part-unlisted", key, text)
        else:
            report.warning("file-unlisted", key, "it is not of this release")
