"""The metadata of a downloaded part: made before the first image, written after the last."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.document import ReleaseDocument
from manifests.format.json_text import MOST_JSON_BYTES, json_bytes, parse_json
from manifests.format.layout import DESCRIPTION_KEY, MANIFEST_KEY, MEASURED_KEY, RELEASE_KEY
from manifests.format.measured import only
from manifests.format.parquet import parquet_bytes
from manifests.format.segmentation.documents import volumes_tsv
from manifests.format.segmentation.layout import REGIONS_KEY, VOLUMES_KEY, is_segmentation
from manifests.metadata.staging import write_release
from manifests.query.release import Release
from manifests.storage.base import TooLargeError
from manifests.storage.local import LocalStore
from manifests.text import printable

LICENSE_KEY = "LICENSE"
NOTE_KEY = ".brainpress-download.json"  # there while metadata is being written
MOST_LICENSE_BYTES = 2**20


@dataclass(frozen=True)
class StagedMetadata:
    """Every file of the part but its images, in a folder of its own."""

    store: LocalStore
    keys: tuple[str, ...]  # release.json last

    @property
    def release(self) -> Release:
        """The part as a release, its images not there yet."""
        return Release.at(self.store)

    def of_others(self, target: LocalStore) -> list[str]:
        """Keys that have a file of somebody else's: one of their own, or ours that they changed.

        Ours is what has the same bytes, what an earlier download's release.json names, and what
        one that was killed had noted before it wrote it.

        Raises:
            ReleaseError: the folder is another dataset's.
        """
        noted = noted_by_a_killed_one(target)
        ours = {key: {digests.get(key) for digests in (noted, _named(target))} for key in self.keys}
        others = []
        for key in self.keys:
            there = self._at(target, key)
            if there not in (None, self._at(self.store, key), *ours[key]):
                others.append(key)
        # release.json names no digest of its own; whose it is was looked at before.
        others = [key for key in others if key != RELEASE_KEY]
        if DESCRIPTION_KEY in others and self._at(target, RELEASE_KEY) is None:
            raise ReleaseError(f"{target.uri} holds another dataset; choose an empty or new folder")
        return others

    def write(self, target: LocalStore, *, but: Collection[str] = ()) -> None:
        """Put everything in place, release.json last: whoever finds it finds all of it.

        Args:
            but: keys whose files stay as they are.
        """
        keys = [key for key in self.keys if key not in but]
        note = {key: self._at(self.store, key) for key in keys}
        target.put(NOTE_KEY, json_bytes({"files": note}))
        for key in keys:
            target.put_file(key, self.store.folder / key)
        target.delete(NOTE_KEY)

    @staticmethod
    def _at(store: LocalStore, key: str) -> str | None:
        """The digest of what lies at `key`."""
        try:
            return sha256(store.get(key))
        except KeyError:
            return None


def noted_by_a_killed_one(target: LocalStore) -> dict[str, str]:
    """Digests of what a download that was killed was about to write, by key."""
    return _digests(target, NOTE_KEY)


def _named(target: LocalStore) -> dict[str, str]:
    """Digests that an earlier download's release.json names, by key."""
    return _digests(target, RELEASE_KEY)


def _digests(target: LocalStore, key: str) -> dict[str, str]:
    try:
        files = parse_json(target.get(key, most=MOST_JSON_BYTES), key).get("files")
    except (KeyError, ReleaseError):
        return {}
    return files if isinstance(files, dict) else {}


@contextmanager
def staged_metadata(
    release: Release, rows: pa.Table, kept: pa.Table | None
) -> Iterator[StagedMetadata]:
    """The metadata of `rows` and of those that were there before, on this machine's disk."""
    if kept is not None:
        others = kept.filter(pc.invert(pc.is_in(kept["index"], rows["index"].combine_chunks())))
        rows = pa.concat_tables([rows, others]).sort_by("index")
    source: dict[str, Any] = {
        "uri": shlex.join(release.store.words),
        "samples": release.about["counts"]["samples"],
        "manifest_sha256": release.about["files"][MANIFEST_KEY],
        "release_sha256": release.digest,
    }
    with TemporaryDirectory(prefix="brainpress-") as folder:
        store = LocalStore(Path(folder))
        extra = {}
        if release.is_measured:
            extra[MEASURED_KEY] = parquet_bytes(only(release.measured(), rows["index"]))
        extra |= _label_files(release, rows)
        write_release(store, rows, _with_license(release), source=source, extra=extra)
        keys = sorted(entry.key for entry in store.list() if entry.key != RELEASE_KEY)
        # The description first: with it, a folder says whose download was under way.
        keys = [DESCRIPTION_KEY, *(key for key in keys if key != DESCRIPTION_KEY), RELEASE_KEY]
        yield StagedMetadata(store, tuple(keys))


def _label_files(release: Release, rows: pa.Table) -> dict[str, bytes]:
    """What tells of the label maps of those rows, by key.

    Raises:
        ReleaseError: a file of it is not the one that release.json names (exit code 1).
    """
    if not release.is_segmented:
        return {}
    files = {}
    for key in filter(is_segmentation, release.about["files"]):
        if key in (REGIONS_KEY, VOLUMES_KEY):
            continue
        data, where = release.store.get(key, most=MOST_JSON_BYTES), f"{release.store.uri}/{key}"
        if sha256(data) != release.about["files"][key]:
            line = f"{where} is not the file that release.json names; see `brainpress verify`"
            raise ReleaseError(line, exit_code=1)
        files[key] = data
    table = only(release.regions(), rows["index"])
    return {**files, VOLUMES_KEY: volumes_tsv(table), REGIONS_KEY: parquet_bytes(table)}


def _with_license(release: Release) -> ReleaseDocument:
    """The release's document with its LICENSE, which may hold a licence in full.

    Raises:
        ReleaseError: it is not the file that release.json names (exit code 1).
    """
    digest = release.about["files"].get(LICENSE_KEY)
    if digest is None:
        return release.document
    where = f"{release.store.uri}/{LICENSE_KEY}"
    try:
        text = release.store.get(LICENSE_KEY, most=MOST_LICENSE_BYTES)
    except (KeyError, TooLargeError, StorageError) as error:
        if isinstance(error, StorageError):
            raise
        line = f"{where} is missing or too large; see `brainpress verify`"
        raise ReleaseError(line, exit_code=1) from None
    if sha256(text) != digest:
        line = f"{where} is not the file that release.json names; see `brainpress verify`"
        raise ReleaseError(line, exit_code=1)
    return replace(release.document, license_text=printable(text.decode("utf-8", "replace")))
