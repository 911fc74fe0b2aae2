"""Taking images to a local folder: what is there is looked at, and what is not is fetched."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from manifests.errors import ReleaseError
from manifests.format.segmentation.layout import MAPS_PREFIX
from manifests.storage.base import Chunk, Store
from manifests.storage.local import LocalStore
from manifests.storage.threads import OnProgress
from manifests.volumes.images import ATTEMPTS, Image, WrongDigestError, fetch_chunks
from manifests.volumes.there import Existing, Found, look

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
        maps: label maps that are there now, each with the right digest.
    """

    fetched: int = 0
    present: int = 0
    skipped: list[str] = field(default_factory=list)
    withdrawn: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    not_tried: int = 0
    image_bytes: int = 0
    maps: int = 0

    def add_maps(self, of_maps: Downloaded) -> None:
        """Count label maps too, of which a download was made by itself."""
        self.maps = of_maps.fetched + of_maps.present
        self.image_bytes += of_maps.image_bytes
        self.skipped += of_maps.skipped
        self.failed |= of_maps.failed
        self.not_tried += of_maps.not_tried


class NotOursError(ReleaseError):
    """Where an image is to go lies somebody's own file."""

    def __init__(self, target: LocalStore, key: str) -> None:
        super().__init__(
            f"{target.uri}/{key} is there and is not the release's file; choose --existing"
            " overwrite to replace such files, or skip to leave them"
        )


class Taker:
    """Takes images to a folder, over several connections; few are held in memory at a time.

    What lies there is listed once. A file of another size than the image is judged before
    anything is fetched; one of its size is read when its turn comes, so that a download of a
    million images goes on at once.
    """

    def __init__(self, source: Store, target: LocalStore, existing: Existing) -> None:
        self._source, self._target, self._existing = source, target, existing
        listed = [entry for place in ("sub-", MAPS_PREFIX) for entry in target.list(place)]
        self._there = {entry.key: entry.size for entry in listed}
        self._stop = threading.Event()

    def check(self, images: Sequence[Image]) -> None:
        """Raise for files of others, and where the disk has no room.

        Raises:
            NotOursError: with `Existing.ERROR`, a file of another size than the image.
            ReleaseError: the disk is too small (exit code 1).
        """
        needed = 0
        for image in images:
            size = self._there.get(image.path)
            if size is None:
                needed += image.bytes
            elif size != image.bytes and self._existing is Existing.ERROR:
                raise NotOursError(self._target, image.path)
        _need_space(self._target, needed)

    def take(
        self,
        images: Sequence[Image],
        report: Downloaded,
        connections: int,
        on_progress: OnProgress | None,
    ) -> None:
        """Take them, and note of each in `report` what became of it.

        Raises:
            NotOursError: with `Existing.ERROR`, a file with an image's size and other bytes.
            ReleaseError: the disk is full (exit code 1).
        """
        queue, done = iter(images), 0
        running: dict[Future[Found], Image] = {}
        with ThreadPoolExecutor(connections) as pool:
            try:
                while True:
                    while len(running) < connections and len(report.failed) < MOST_FAILURES:
                        if (image := next(queue, None)) is None:
                            break
                        running[pool.submit(self._take, image)] = image
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        _record(future, running.pop(future), report)
                        done += 1
                        if on_progress:
                            on_progress(done, len(images), report.image_bytes)
                report.not_tried = sum(1 for _ in queue)
            finally:
                self._stop.set()  # an interrupt: what is under way ends without another try

    def _take(self, image: Image) -> Found:
        """Fetch an image unless it is there; what was there."""
        found = look(self._target, image) if image.path in self._there else Found.NOTHING
        if found is Found.THE_IMAGE:
            return found
        if found is Found.ANOTHER_FILE and self._existing is Existing.ERROR:
            raise NotOursError(self._target, image.path)
        if found is Found.ANOTHER_FILE and self._existing is Existing.SKIP:
            return found
        self._fetch(image)
        return Found.NOTHING

    def _fetch(self, image: Image) -> None:
        """Stream an image to a side file; with the right digest it gets its name.

        It is not waited for until it is on the disk: after a power cut the same command looks
        again.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                chunks = _until(self._stop, fetch_chunks(self._source, image))
                self._target.put_chunks(image.path, chunks, durable=False)
                return
            except _Stopped:
                return
            except WrongDigestError:
                if attempt == ATTEMPTS:
                    raise


def _record(future: Future[Found], image: Image, report: Downloaded) -> None:
    try:
        found = future.result()
    except KeyError:
        report.failed[image.path] = "it is missing from the release"
    except NotOursError:
        raise
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC:
            raise
        report.failed[image.path] = str(error)
    else:
        if found is Found.THE_IMAGE:
            report.present += 1
        elif found is Found.ANOTHER_FILE:
            report.skipped.append(image.path)
        else:
            report.fetched += 1
            report.image_bytes += image.bytes


def _need_space(target: LocalStore, size: int) -> None:
    import shutil

    place = next(p for p in (target.folder, *target.folder.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if size > free:
        raise ReleaseError(
            f"{target.uri}: needs {size / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free",
            exit_code=1,
        )


class _Stopped(Exception):
    """The download was given up."""


def _until(stop: threading.Event, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    for chunk in chunks:
        if stop.is_set():
            raise _Stopped
        yield chunk
