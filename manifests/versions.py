"""Earlier versions of a published release: what is kept of each, and how it is read.

`versions/1.0.0/` holds the documents and the rows of that version, and never changes. Images are
shared: a sample that was withdrawn later has none in any version, so the tombstones of the manifest
of today hold for the rows of every version.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from manifests.errors import ReleaseError
from manifests.evaluated import is_evaluation
from manifests.json_text import MOST_JSON_BYTES, json_bytes, parse_json
from manifests.layout import (
    MANIFEST_KEY,
    MEASURED_KEY,
    PARTICIPANTS_KEY,
    RELEASE_KEY,
    VERSIONS,
)
from manifests.measured import without
from manifests.overlay import Overlay
from manifests.parquet import parquet_bytes, read_columns, sha256
from manifests.published import Published, version_key
from manifests.release_document import ReleaseDocument
from manifests.release_shape import check_release
from manifests.schema import OK, WITHDRAWN, same_columns
from manifests.staging import Staged
from manifests.store import Store
from manifests.tombstones import bury, tombstones

# What is kept of a version, beside its release.json and its evaluation.
KEPT = (MANIFEST_KEY, PARTICIPANTS_KEY, "README.md", "CHANGES", "LICENSE")
GRAVES = ("index", "status", "error")


def version_file(version: str, key: str) -> str:
    """Where a file of a version lies."""
    return f"{VERSIONS}/{version}/{key}"


def archive(staged: Staged, version: str) -> tuple[dict[str, bytes], dict[str, Path]]:
    """The files by which a version stays, by key: those in memory, and those on this machine.

    Its release.json names these alone: images, parts and pages may change.
    """
    kept = sorted([*KEPT, *filter(is_evaluation, staged.about["files"])])
    small = {version_file(version, k): staged.small[k] for k in kept if k in staged.small}
    large = {version_file(version, k): staged.large[k] for k in kept if k in staged.large}
    digests = {key: staged.about["files"][key] for key in kept}
    about = {**staged.about, "shard_size": None, "parts": [], "files": digests}
    small[version_file(version, RELEASE_KEY)] = json_bytes(about)
    return small, large


def read_version(store: Store, today: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The release.json of a published version.

    Args:
        today: the content of the release's own release.json.

    Raises:
        ReleaseError: there is no such version, or its file is not the one that `today` names.
    """
    version_key(version)
    published = Published.from_json(today.get("published"))
    known = [one.version for one in published.versions] if published else []
    if version not in known:
        there = ", ".join(known[:10]) or "none: it was never published"
        raise ReleaseError(f"{store.uri} has no version {version}; its versions: {there}")
    key = version_file(version, RELEASE_KEY)
    try:
        data = store.get(key, most=MOST_JSON_BYTES)
    except KeyError:
        line = f"{store.uri}/{key} is missing; see `brainpress verify`"
        raise ReleaseError(line, exit_code=1) from None
    if sha256(data) != today["files"].get(key):
        line = f"{store.uri}/{key} is not the file that release.json names"
        raise ReleaseError(f"{line}; see `brainpress verify`", exit_code=1)
    about = parse_json(data, f"{store.uri}/{key}")
    check_release(about, f"{store.uri}/{VERSIONS}/{version}")
    return about


def open_version(
    store: Store, today: Mapping[str, Any], version: str
) -> tuple[Store, dict[str, Any]]:
    """A published version as a release of its own: the store to read, and its release.json.

    Samples that were withdrawn since are tombstones here too, in the rows and in the counts.
    """
    about = read_version(store, today, version)
    moved = {key: version_file(version, key) for key in about["files"]}
    about["opened_version"] = version
    view = Overlay(store, moved=moved)
    try:
        gone = tombstones(read_columns(store, MANIFEST_KEY, columns=GRAVES))
        rows = read_columns(view, MANIFEST_KEY) if gone else None
    except KeyError:
        line = f"{store.uri}: {MANIFEST_KEY} is missing; see `brainpress verify`"
        raise ReleaseError(line, exit_code=1) from None
    # Of other columns than release.json tells, its reader complains.
    if rows is None or not same_columns(rows.schema, ReleaseDocument.from_json(about).schema):
        return view, about
    buried = bury(rows, gone)
    if buried is rows:
        return view, about
    data = parquet_bytes(buried)
    counts = {
        **about["counts"],
        "ok": pc.sum(pc.equal(buried["status"], OK)).as_py() or 0,
        "withdrawn": pc.sum(pc.equal(buried["status"], WITHDRAWN)).as_py(),
        "image_bytes": pc.sum(buried["bytes"]).as_py() or 0,
    }
    counts["failed"] = counts["samples"] - counts["ok"] - counts["withdrawn"]
    files = {MANIFEST_KEY: data}
    if MEASURED_KEY in about["files"]:
        files[MEASURED_KEY] = parquet_bytes(without(read_columns(view, MEASURED_KEY), gone))
    return Overlay(store, moved=moved, files=files), {**about, "counts": counts}
