"""A bounded folder of fetched images, named by their digests, that several processes share."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

from manifests.digests import sha256
from manifests.errors import ReleaseError

CACHE_BYTES = 50 * 10**9
UNUSED_SECONDS = 24 * 3600
PAUSE_SECONDS = 60.0  # of a full or broken cache, before anything is put there again
_names = itertools.count()


class VolumeCache:
    """Bytes by their SHA-256, each checked whenever it is read.

    When the folder is full, what nobody used for a day makes room, and else the new image is not
    kept: of a set that does not fit, a part stays and is found again each epoch, where dropping the
    oldest would drop all. The folder is measured anew after each 1/64 of the bound that this object
    added, so several processes may exceed the bound by that much each.

    A folder that cannot be read or written (a full disk, a quota, a read-only one) ends nothing:
    images are fetched again, and each process says so once, by a RuntimeWarning.
    """

    def __init__(self, folder: Path, most_bytes: int = CACHE_BYTES) -> None:
        self.folder, self.most_bytes = folder.expanduser().absolute(), most_bytes
        self._free = 0  # bytes that may be added before the folder is measured again
        self._full_until = 0.0
        self._warned = False
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, tuple[Path, int]]:
        return VolumeCache, (self.folder, self.most_bytes)

    def get(self, digest: str) -> bytes | None:
        """The bytes of that digest, or None."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(error)
            return None
        if sha256(data) != digest:  # the disk, or somebody's hand
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return data

    def put(self, digest: str, data: bytes) -> None:
        """Keep the bytes, whole or not at all, where there is room and it can be written."""
        path = self._path(digest)
        try:
            if not self._room(len(data)):
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            side = path.with_name(f".{socket.gethostname()}-{os.getpid()}-{next(_names)}")
            try:
                side.write_bytes(data)
                side.replace(path)
            finally:
                side.unlink(missing_ok=True)
        except OSError as error:
            with self._lock:
                self._free, self._full_until = 0, time.monotonic() + PAUSE_SECONDS
            self._warn(error)

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not digest.isalnum():
            raise ReleaseError(f"{digest!a:.80} is no SHA-256", exit_code=1)
        return self.folder / digest[:2] / f"{digest}.nii.gz"

    def _room(self, size: int) -> bool:
        with self._lock:
            if self._free < size and time.monotonic() >= self._full_until:
                left = self.most_bytes - self._make_room(size)
                self._free = min(left, max(size, self.most_bytes // 64))
                if left < size:
                    self._full_until = time.monotonic() + PAUSE_SECONDS  # measuring takes time too
            if self._free < size:
                return False
            self._free -= size
            return True

    def _make_room(self, size: int) -> int:
        """Remove what was not used for a day, the oldest first, as needed; the bytes then held."""
        files = []
        for path in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        held = sum(length for _, length, _ in files)
        for used, length, path in sorted(files):
            if held + size <= self.most_bytes or time.time() - used < UNUSED_SECONDS:
                break
            path.unlink(missing_ok=True)
            held -= length
        return held

    def _warn(self, error: OSError) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"cache {self.folder}: {error.strerror or error}; images that it does not hold are"
            " fetched again and again; choose another folder with `cache`, or None for no cache",
            RuntimeWarning,
            stacklevel=2,
        )


def default_folder(name: str = "volumes") -> Path:
    """$BRAINPRESS_CACHE/volumes, else in the user's cache folder."""
    own = os.environ.get("BRAINPRESS_CACHE")
    if own:
        return Path(own, name)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base, "brainpress", name).expanduser()
