"""Taking a release, or a part of it, to a local folder that is a checked BIDS dataset itself."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ReleaseError
from manifests.layout import MANIFEST_KEY, MOST_IMAGE_BYTES, RELEASE_KEY, image_path
from manifests.ledger import in_threads
from manifests.parquet import MOST_FILE_BYTES, sha256, table_from_bytes
from manifests.query import Release
from manifests.release import read_release, write_release
from manifests.schema import OK
from manifests.storage import open_store
from manifests.storage_local import LocalStore
from manifests.store import Store, TooLargeError

CONNECTIONS = 8
ATTEMPTS = 2  # of an image whose digest is wrong: once more, in case it broke on the way
MOST_FAILURES = 50  # then the storage is away, or the release is broken

OnProgress = Callable[[int, int, int], None]


class Existing(StrEnum):
    """What to do with a file that is there already and is not the release's."""

    ERROR = "error"
    SKIP = "skip"
    OVERWRITE = "overwrite"


@dataclass(kw_only=True)
class Downloaded:
    """What a download did, in images.

    Attributes:
        fetched, present: images taken now; images that were there already, with the right digest.
        skipped: keys of files that are there, are not the release's, and were left (`SKIP`).
        failed: keys of images that could not be had, and why.
        not_tried: how many were left because too many had failed.
        image_bytes: size of what was fetched.
    """

    fetched: int = 0
    present: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    not_tried: int = 0
    image_bytes: int = 0


def download(
    release: Release,
    out: Path,
    *,
    where: str | None = None,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    existing: Existing = Existing.ERROR,
    connections: int = CONNECTIONS,
    on_progress: OnProgress | None = None,
) -> Downloaded:
    """Fetch the chosen images, check each, and write the metadata of the subset, release.json last.

    An image that is there with the right digest is not fetched again, so the same command run
    again goes on where it was interrupted; with another choice it adds to what is there.

    Args:
        ids: participants, as sub-000001, 000001 or 1.
        limit: the first so many of those that match.

    Raises:
        ReleaseError: no such rows; a folder that holds something else; with `Existing.ERROR`, a
            file that is there and is not the release's, before anything is written.
    """
    rows = _choose(release, where=where, ids=ids, limit=limit)
    target = open_store(out)
    if not isinstance(target, LocalStore):
        raise ReleaseError(f"{out}: `download` writes to a local folder")
    kept = _rows_already_there(target, release)
    target.check_writable()
    wanted = _images(rows, release.store.uri)
    report = Downloaded()
    missing = _sort_out(wanted, target, existing, report)
    _need_space(target, sum(image.bytes for image in missing))
    _fetch(release.store, target, missing, report, connections, on_progress)
    if not report.failed:
        _write_metadata(release, target, rows, kept)
    target.sweep()
    return report


@dataclass(frozen=True)
class _Image:
    path: str
    bytes: int
    sha256: str


def _images(rows: pa.Table, uri: str) -> list[_Image]:
    """What to fetch; each goes where the format puts it, whatever else the manifest says.

    Raises:
        ReleaseError: a row that names another place, no digest or an absurd size (exit code 1).
    """
    images = []
    for row in rows.select(["index", "path", "bytes", "sha256"]).to_pylist():
        index = row.pop("index")
        place = f"{uri}/{MANIFEST_KEY}: sample {index}"
        if row["path"] != image_path(index):
            found, expected = ascii(row["path"])[:200], image_path(index)
            raise ReleaseError(f"{place} lies at {found}, expected {expected!r}", exit_code=1)
        if row["sha256"] is None or not 0 < (row["bytes"] or 0) <= MOST_IMAGE_BYTES:
            raise ReleaseError(
                f"{place} has {row['bytes']} bytes and SHA-256 {ascii(row['sha256'])[:80]};"
                f" expected a digest, and 1 to {MOST_IMAGE_BYTES:,} bytes",
                exit_code=1,
            )
        images.append(_Image(**row))
    return images


def _choose(
    release: Release, *, where: str | None, ids: Sequence[str] | None, limit: int | None
) -> pa.Table:
    """The manifest rows of the images asked for."""
    rows = release.query(where)
    rows = rows.filter(pc.equal(rows["status"], OK))
    if ids is not None:
        keys = [_participant(text) for text in ids]
        unknown = sorted(set(keys) - set(rows["participant_id"].to_pylist()))
        if unknown:
            among = " among the rows that match" if where else ""
            raise ReleaseError(
                f"no image of {', '.join(unknown[:5])}{among} in {release.store.uri}"
            )
        rows = rows.filter(pc.is_in(rows["participant_id"], pa.array(keys, pa.string())))
    if limit:
        rows = rows.slice(0, limit)
    if rows.num_rows == 0:
        raise ReleaseError(f"no image of {release.store.uri} matches; try the filter with `query`")
    return rows


def _participant(text: str) -> str:
    bare = text.removeprefix("sub-")
    return f"sub-{int(bare):06d}" if bare.isdecimal() else text


def _rows_already_there(target: Store, release: Release) -> pa.Table | None:
    """The rows of an earlier download of the same release; None in a new folder."""
    try:
        target.get(RELEASE_KEY)
    except KeyError:
        for entry in target.list():
            if entry.key == "dataset_description.json":
                raise ReleaseError(
                    f"{target.uri} holds another dataset; choose an empty or new folder"
                ) from None
        return None
    about = read_release(target)
    if about.get("fingerprint") != release.about["fingerprint"] or not about.get("source"):
        raise ReleaseError(
            f"{target.uri} holds {'another release' if about.get('source') else 'a release itself'}"
            f" ({about.get('name')}); choose an empty or new folder"
        )
    try:
        data = target.get(MANIFEST_KEY, most=MOST_FILE_BYTES)
    except KeyError:
        return None
    rows = table_from_bytes(data, f"{target.uri}/{MANIFEST_KEY}")
    return rows if rows.schema.equals(release.schema, check_metadata=True) else None


class _Found(StrEnum):
    NOTHING = "nothing"
    THE_IMAGE = "the image"
    ANOTHER_FILE = "another file"


def _sort_out(
    images: list[_Image], target: LocalStore, existing: Existing, report: Downloaded
) -> list[_Image]:
    """The images to fetch: what is not there yet, and what may be overwritten."""
    missing = []
    for image, found in zip(images, in_threads(partial(_look, target), images), strict=True):
        if found is _Found.THE_IMAGE:
            report.present += 1
        elif found is _Found.NOTHING or existing is Existing.OVERWRITE:
            missing.append(image)
        elif existing is Existing.SKIP:
            report.skipped.append(image.path)
        else:
            raise ReleaseError(
                f"{target.uri}/{image.path} is there and is not the release's file;"
                " choose --existing overwrite to replace such files, or skip to leave them"
            )
    return missing


def _look(target: LocalStore, image: _Image) -> _Found:
    try:
        there = target.get(image.path, most=image.bytes)
    except KeyError:
        return _Found.NOTHING
    except TooLargeError:
        return _Found.ANOTHER_FILE
    same = len(there) == image.bytes and sha256(there) == image.sha256
    return _Found.THE_IMAGE if same else _Found.ANOTHER_FILE


def _need_space(target: LocalStore, size: int) -> None:
    import shutil

    place = next(p for p in (target.folder, *target.folder.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if size > free:
        raise ReleaseError(
            f"{target.uri}: needs {size / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free",
            exit_code=1,
        )


def _fetch(
    source: Store,
    target: LocalStore,
    images: list[_Image],
    report: Downloaded,
    connections: int,
    on_progress: OnProgress | None,
) -> None:
    """Fetch the images over several connections; few are held in memory at a time."""
    stop = threading.Event()
    queue = iter(images)
    running: dict[Future[None], _Image] = {}
    with ThreadPoolExecutor(connections) as pool:
        try:
            while True:
                while len(running) < connections and len(report.failed) < MOST_FAILURES:
                    if (image := next(queue, None)) is None:
                        break
                    running[pool.submit(_fetch_one, source, target, image, stop)] = image
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    _record(future, running.pop(future), report)
                    if on_progress:
                        done = report.fetched + len(report.failed)
                        on_progress(done, len(images), report.image_bytes)
            report.not_tried = sum(1 for _ in queue)
        finally:
            stop.set()  # an interrupt: what is under way ends without another try


def _record(future: Future[None], image: _Image, report: Downloaded) -> None:
    try:
        future.result()
    except KeyError:
        report.failed[image.path] = "it is missing from the release"
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC:
            raise
        report.failed[image.path] = str(error)
    else:
        report.fetched += 1
        report.image_bytes += image.bytes


def _fetch_one(source: Store, target: LocalStore, image: _Image, stop: threading.Event) -> None:
    found = ""
    for _ in range(ATTEMPTS):
        if stop.is_set():
            return
        data = source.get(image.path, most=image.bytes)
        found = sha256(data)
        if found == image.sha256:
            target.put(image.path, data)
            return
    raise ReleaseError(f"its SHA-256 is {found}, the manifest says {image.sha256}", exit_code=1)


def _write_metadata(
    release: Release, target: LocalStore, rows: pa.Table, kept: pa.Table | None
) -> None:
    if kept is not None:
        others = kept.filter(pc.invert(pc.is_in(kept["index"], rows["index"].combine_chunks())))
        rows = pa.concat_tables([rows, others]).sort_by("index")
    source: dict[str, Any] = {
        "uri": release.store.uri,
        "samples": release.about["counts"]["samples"],
        "manifest_sha256": release.about["files"][MANIFEST_KEY],
    }
    write_release(target, rows, release.document, source=source)
