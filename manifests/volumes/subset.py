"""The metadata of a downloaded part: made before the first image, written after the last."""

from __future__ import annotations

from collections.abc import Iterator
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
from manifests.format.layout import DESCRIPTION_KEY, MANIFEST_KEY, MEASURED_KEY, RELEASE_KEY
from manifests.format.measured import only
from manifests.format.parquet import parquet_bytes
from manifests.metadata.staging import write_release
from manifests.query.release import Release
from manifests.storage.base import TooLargeError
from manifests.storage.local import LocalStore
from manifests.text import printable

LICENSE_KEY = "LICENSE"
MOST_LICENSE_BYTES = 2**20


@dataclass(frozen=True)
class StagedMetadata:
    """Every file of the part but its images, in a folder of its own."""

    store: LocalStore
    keys: tuple[str, ...]  # release.json last

    def check_room(self, target: LocalStore, *, overwrite: bool) -> None:
        """Raise ReleaseError where another's file has the place of one of these.

        What is there already with the same bytes is of a download that was killed; where a
        release.json is there, it is an earlier download's, which this one makes larger.
        """
        if self._at(target, RELEASE_KEY) is not None:
            return
        if self._at(target, DESCRIPTION_KEY) not in (None, self._at(self.store, DESCRIPTION_KEY)):
            raise ReleaseError(f"{target.uri} holds another dataset; choose an empty or new folder")
        begun = self._at(target, DESCRIPTION_KEY) is not None
        for key in self.keys:
            there = self._at(target, key)
            if overwrite or begun or there is None or there == self._at(self.store, key):
                continue
            raise ReleaseError(
                f"{target.uri}/{key} is there and is not the release's file; choose another folder,"
                " or --existing overwrite to replace such files"
            )

    def write(self, target: LocalStore) -> None:
        """Put everything in place, release.json last: whoever finds it finds all of it."""
        for key in self.keys:
            target.put_file(key, self.store.folder / key)

    @staticmethod
    def _at(store: LocalStore, key: str) -> str | None:
        """The digest of what lies at `key`."""
        try:
            return sha256(store.get(key))
        except KeyError:
            return None


@contextmanager
def staged_metadata(
    release: Release, rows: pa.Table, kept: pa.Table | None
) -> Iterator[StagedMetadata]:
    """The metadata of `rows` and of those that were there before, on this machine's disk."""
    if kept is not None:
        others = kept.filter(pc.invert(pc.is_in(kept["index"], rows["index"].combine_chunks())))
        rows = pa.concat_tables([rows, others]).sort_by("index")
    source: dict[str, Any] = {
        "uri": release.store.uri,
        "samples": release.about["counts"]["samples"],
        "manifest_sha256": release.about["files"][MANIFEST_KEY],
    }
    with TemporaryDirectory(prefix="brainpress-") as folder:
        store = LocalStore(Path(folder))
        extra = {}
        if release.is_measured:
            extra[MEASURED_KEY] = parquet_bytes(only(release.measured(), rows["index"]))
        write_release(store, rows, _with_license(release), source=source, extra=extra)
        keys = sorted(entry.key for entry in store.list() if entry.key != RELEASE_KEY)
        # The description first: with it, a folder says whose download was under way.
        keys = [DESCRIPTION_KEY, *(key for key in keys if key != DESCRIPTION_KEY), RELEASE_KEY]
        yield StagedMetadata(store, tuple(keys))


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
