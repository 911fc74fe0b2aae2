"""A release whose tables are held against its release.json, and read from checked copies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from manifests.errors import ReleaseError
from manifests.format.layout import MANIFEST_KEY, MEASURED_KEY
from manifests.format.parquet import MOST_FILE_BYTES, parquet_bytes
from manifests.format.segmentation.layout import REGIONS_KEY
from manifests.query.few import few_rows
from manifests.query.release import Release
from manifests.storage.overlay import Overlay


@contextmanager
def held(
    release: Release,
    *,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    regions: bool = True,
) -> Iterator[Release]:
    """The release, for whoever takes its images: every row is one that release.json vouches for.

    manifest.parquet, and the tables beside it where there are some, are fetched whole, compared by
    their SHA-256, and read from this machine's disk from then on.

    Args:
        ids, limit: where no other rows are looked at than those of these participants, or the first
            so many that have an image. The manifest may then have those alone, and a few beside
            them, from parts compared by their SHA-256.
        regions: whether regions.parquet is wanted; else it is not fetched, and has no rows to read.

    Raises:
        ReleaseError: a table that is missing, or is not the one that release.json names (exit
            code 1).
        ChangedError: the release was changed meanwhile.
    """
    about = release.about
    expected = {**about["files"], **about.get("opened_files", {})}
    wanted = [MANIFEST_KEY, MEASURED_KEY, *([REGIONS_KEY] if regions else [])]
    keys = [key for key in wanted if key in expected]
    few = few_rows(release, ids=ids, limit=limit)
    with TemporaryDirectory(prefix="brainpress-") as folder:
        files = {key: Path(folder, key) for key in keys}
        for key, path in files.items():
            if key == MANIFEST_KEY and few is not None:
                path.write_bytes(parquet_bytes(few))
            else:
                take(release, key, path, expected[key])
        held_files: dict[str, bytes | Path] = dict(files)
        if not regions:
            held_files[REGIONS_KEY] = b""
        yield Release(Overlay(release.store, files=held_files), about)


def take(release: Release, key: str, path: Path, expected: str) -> None:
    """Fetch a file of a release to `path`.

    Raises:
        ReleaseError: it is missing, or its SHA-256 is another than expected (exit code 1).
        ChangedError: the release was changed meanwhile.
    """
    where, digest = f"{release.store.uri}/{key}", hashlib.sha256()
    try:
        with path.open("wb") as file:
            for chunk in release.store.get_chunks(key, most=MOST_FILE_BYTES):
                digest.update(chunk)
                file.write(chunk)
    except KeyError:
        release.confirm()
        line = f"{where} is missing; see `brainpress verify`"
        raise ReleaseError(line, exit_code=1) from None
    if digest.hexdigest() != expected:
        release.confirm()
        raise ReleaseError(
            f"{where} is not the file that release.json names: its SHA-256 is {digest.hexdigest()},"
            f" expected {expected}; it was changed since; see `brainpress verify`",
            exit_code=1,
        )
