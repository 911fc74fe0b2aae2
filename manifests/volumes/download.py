"""Taking a release, or a part of it, to a local folder that is a checked BIDS dataset itself."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa

from manifests.errors import ReleaseError
from manifests.query.held import held
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import Chunk, Store
from manifests.storage.local import LocalStore
from manifests.storage.threads import OnProgress, in_threads
from manifests.volumes.images import (
    ATTEMPTS,
    Image,
    WrongDigestError,
    choose,
    fetch_chunks,
    images_of,
)
from manifests.volumes.subset import staged_metadata
from manifests.volumes.there import (
    Existing,
    Found,
    judged,
    look,
    rows_already_there,
    withdrawn_since,
)

__all__ = ["Downloaded", "Existing", "download"]

CONNECTIONS = 8
MOST_FAILURES = 50  # then the storage is away, or the release is broken


@dataclass(kw_only=True)
class Downloaded:
    """What a download did, in images.

    Attributes:
        fetched, present: images taken now; images that were there already, with the right digest.
        skipped: keys of files that are there, are not the release's, and were left (`SKIP`).
        withdrawn: participants that an earlier download brought and that were withdrawn since, and
            why; their images are there still.
        failed: keys of images that could not be had, and why.
        not_tried: how many were left because too many had failed.
        image_bytes: size of what was fetched.
    """

    fetched: int = 0
    present: int = 0
    skipped: list[str] = field(default_factory=list)
    withdrawn: dict[str, str] = field(default_factory=dict)
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

    The manifest is held against release.json first, so that no row is one that somebody changed.

    An image that is there with the right digest is not fetched again, so the same command run
    again goes on where it was interrupted or killed; with another choice it adds to what is there.

    Args:
        ids: participants, as sub-000001, 000001 or 1.
        limit: the first so many of those that match.

    Raises:
        ReleaseError: no such rows; a folder that holds something else; with `Existing.ERROR`, a
            file that is there and is not the release's, before anything is written; a manifest that
            is not the one that release.json names.
    """
    target = open_store(out)
    if not isinstance(target, LocalStore):
        raise ReleaseError(f"{out}: `download` writes to a local folder")
    # What lies there already may be of any row, and has to be looked up.
    new = next(iter(target.list()), None) is None
    few = new and where is None
    with held(release, ids=ids if few else None, limit=limit if few else None) as checked:
        rows = choose(checked, where=where, ids=ids, limit=limit)
        return _download(checked, target, rows, existing, connections, on_progress)


def _download(
    release: Release,
    target: LocalStore,
    rows: pa.Table,
    existing: Existing,
    connections: int,
    on_progress: OnProgress | None,
) -> Downloaded:
    kept = rows_already_there(target, release, rows, existing)
    target.check_writable()
    wanted = images_of(rows, release.store.uri)
    report = Downloaded(withdrawn=withdrawn_since(release, kept))
    with staged_metadata(release, rows, kept) as metadata:
        others = metadata.of_others(target)
        report.skipped += judged(others, target, existing)
        missing = _sort_out(wanted, target, existing, report)
        _need_space(target, sum(image.bytes for image in missing))
        _fetch(release.store, target, missing, report, connections, on_progress)
        if not report.failed:
            metadata.write(target, but=report.skipped)
    target.sweep()
    return report


def _sort_out(
    images: list[Image], target: LocalStore, existing: Existing, report: Downloaded
) -> list[Image]:
    """The images to fetch: what is not there yet, and what may be overwritten."""
    missing = []
    for image, found in zip(images, in_threads(partial(look, target), images), strict=True):
        if found is Found.THE_IMAGE:
            report.present += 1
        elif found is Found.NOTHING or existing is Existing.OVERWRITE:
            missing.append(image)
        elif existing is Existing.SKIP:
            report.skipped.append(image.path)
        else:
            raise ReleaseError(
                f"{target.uri}/{image.path} is there and is not the release's file;"
                " choose --existing overwrite to replace such files, or skip to leave them"
            )
    return missing


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
    images: list[Image],
    report: Downloaded,
    connections: int,
    on_progress: OnProgress | None,
) -> None:
    """Fetch the images over several connections; few are held in memory at a time."""
    stop = threading.Event()
    queue = iter(images)
    running: dict[Future[None], Image] = {}
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


def _record(future: Future[None], image: Image, report: Downloaded) -> None:
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


def _fetch_one(source: Store, target: LocalStore, image: Image, stop: threading.Event) -> None:
    """Stream an image to a side file; with the right digest it gets its name.

    It is not waited for until it is on the disk: after a power cut the same command looks again.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            target.put_chunks(image.path, _until(stop, fetch_chunks(source, image)), durable=False)
            return
        except _Stopped:
            return
        except WrongDigestError:
            if attempt == ATTEMPTS:
                raise


class _Stopped(Exception):
    """The download was given up."""


def _until(stop: threading.Event, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    for chunk in chunks:
        if stop.is_set():
            raise _Stopped
        yield chunk
