"""Earlier versions of a published release: what is kept of each, and how it is read.

`versions/1.0.0/` holds the documents and the rows of that version. A withdrawal alone changes it,
which takes pictures and measures of the sample out of its evaluation. Images are shared: a sample
that was withdrawn later has none in any version, so the tombstones of the manifest of today hold
for the rows of every version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.document import ReleaseDocument
from manifests.format.json_text import MOST_JSON_BYTES, parse_json
from manifests.format.layout import (
    MANIFEST_KEY,
    MEASURED_KEY,
    RELEASE_KEY,
    VERSIONS,
)
from manifests.format.measured import without
from manifests.format.parquet import (
    MOST_FILE_BYTES,
    parquet_bytes,
    read_columns,
    table_from_bytes,
)
from manifests.format.published import Published, version_key
from manifests.format.release_json import (
    check_digest,
    check_expected,
    check_release,
    without_notes,
)
from manifests.format.schema import OK, WITHDRAWN, same_columns
from manifests.format.segmentation.layout import REGIONS_KEY
from manifests.format.tombstones import bury, tombstones
from manifests.storage.base import Store
from manifests.storage.overlay import Overlay

GRAVES = ("index", "status", "error")


def version_file(version: str, key: str) -> str:
    """Where a file of a version lies."""
    return f"{VERSIONS}/{version}/{key}"


def read_version(
    store: Store, today: Mapping[str, Any], version: str, *, expect: str | None = None
) -> dict[str, Any]:
    """The release.json of a published version.

    Args:
        today: the content of the release's own release.json.
        expect: the SHA-256 of this file, or of the release's own, which vouches for it.

    Raises:
        ReleaseError: there is no such version, or its file is not the one that `today` names, or
            not the one that is expected.
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
    if expect is not None and sha256(data) != check_digest(expect):
        check_expected(store.get(RELEASE_KEY, most=MOST_JSON_BYTES), expect, store.uri)
    about = parse_json(data, f"{store.uri}/{key}")
    check_release(about, f"{store.uri}/{VERSIONS}/{version}")
    return without_notes(about)


def open_version(
    store: Store,
    today: Mapping[str, Any],
    version: str,
    *,
    expect: str | None = None,
    as_it_was: bool = False,
) -> tuple[Store, dict[str, Any]]:
    """A published version as a release of its own: the store to read, and its release.json.

    Samples that were withdrawn since are tombstones here too, in the rows and in the counts; not
    where it is to be read `as_it_was`, to compare it.
    """
    about = read_version(store, today, version, expect=expect)
    moved = {key: version_file(version, key) for key in about["files"]}
    about["opened_version"] = version
    view = Overlay(store, moved=moved)
    if as_it_was:
        return view, about
    try:
        gone = tombstones(read_columns(store, MANIFEST_KEY, columns=GRAVES))
        rows = _named(view, about, MANIFEST_KEY) if gone else None
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
        files[MEASURED_KEY] = parquet_bytes(without(_named(view, about, MEASURED_KEY), gone))
    if REGIONS_KEY in about["files"]:
        files[REGIONS_KEY] = parquet_bytes(without(_named(view, about, REGIONS_KEY), gone))
    about["opened_files"] = {key: sha256(table) for key, table in files.items()}
    return Overlay(store, moved=moved, files=files), {**about, "counts": counts}


def _named(view: Store, about: Mapping[str, Any], key: str) -> pa.Table:
    """A table of a version, which is the one that the version's release.json names."""
    data = view.get(key, most=MOST_FILE_BYTES)
    if sha256(data) != about["files"][key]:
        line = f"{view.uri}/{VERSIONS}: {key} is not the file that release.json names"
        raise ReleaseError(f"{line}; see `brainpress verify`", exit_code=1)
    return table_from_bytes(data, f"{view.uri}/{key}")
