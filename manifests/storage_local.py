"""A release in a local folder: side files and renames give it the promises of `Store`."""

from __future__ import annotations

import errno
import itertools
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from manifests.errors import ReleaseError
from manifests.store import WRITE_CHECK_KEY, Entry, Store, check_key

SIDE_FOLDER = ".incoming"
STALE_AFTER_SECONDS = 24 * 3600
_counter = itertools.count()


class LocalStore(Store):
    """Objects are files below `folder`.

    A write goes to a side file in `.incoming/`, is flushed to the disk, and is renamed (or, if it
    must be the first, linked) into place: a reader sees a whole object or none. Compare and swap
    holds a lock on the folder.
    """

    is_local = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self.uri = str(self.folder)

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return LocalStore, (self.folder,)

    def put(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        with self._side_file(key, data) as (side, target):
            side.replace(target)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if self._path(key).exists():
            return False
        with self._side_file(key, data) as (side, target):
            try:
                os.link(side, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                    raise
                with self._locked():  # a file system without hard links, such as exFAT
                    if target.exists():
                        return False
                    side.replace(target)
        return True

    def replace(self, key: str, data: bytes, *, etag: str) -> bool:
        with self._side_file(key, data) as (side, target), self._locked():
            try:
                unchanged = _etag(target.stat()) == etag
            except FileNotFoundError:
                return False
            if unchanged:
                side.replace(target)
            return unchanged

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        with self.open(key) as file, self._told("read", key):
            return file.read(), _etag(os.fstat(file.fileno()))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        start = self.folder / prefix.rpartition("/")[0]
        found = []
        for folder, folders, names in os.walk(start):
            if SIDE_FOLDER in folders:
                folders.remove(SIDE_FOLDER)
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self.folder).as_posix()
                if key.startswith(prefix) and key != WRITE_CHECK_KEY:
                    with suppress(FileNotFoundError):  # removed meanwhile
                        status = path.stat()
                        found.append(Entry(key, status.st_size, _etag(status)))
        yield from sorted(found)

    def delete(self, key: str) -> None:
        with self._told("remove", key):
            self._path(key).unlink(missing_ok=True)

    def open(self, key: str) -> BinaryIO:
        with self._told("read", key):
            try:
                return self._path(key).open("rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise KeyError(key) from None

    def check_writable(self) -> None:
        missing = [p for p in (self.folder, *self.folder.parents) if not p.exists()]
        try:
            self.put(WRITE_CHECK_KEY, b"")
        except ReleaseError as error:
            reason = str(error).rpartition(": ")[2]
            raise ReleaseError(f"cannot write to {self.folder}: {reason}") from error
        self.delete(WRITE_CHECK_KEY)
        self.sweep()
        for folder in missing:
            with suppress(OSError):  # not empty any more: another writer began
                folder.rmdir()

    def sweep(self) -> None:
        """Remove side files of this machine's dead processes, and old ones of other machines."""
        with suppress(FileNotFoundError):
            for path in (self.folder / SIDE_FOLDER).iterdir():
                with suppress(FileNotFoundError):
                    if _is_stale(path):
                        path.unlink()
            with suppress(OSError):  # someone is writing
                (self.folder / SIDE_FOLDER).rmdir()

    def _path(self, key: str) -> Path:
        return self.folder / check_key(key)

    @contextmanager
    def _side_file(self, key: str, data: bytes) -> Iterator[tuple[Path, Path]]:
        """`data` in a side file on the same file system, and the place where it should go."""
        target = self._path(key)
        name = f"{_host()}.{os.getpid()}.{next(_counter)}"
        side = self.folder / SIDE_FOLDER / name
        with self._told("write", key), _create(side) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                file.close()
                target.parent.mkdir(parents=True, exist_ok=True)
                yield side, target
            finally:
                file.close()
                side.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """An exclusive lock between processes, on the folder itself; freed if its holder dies."""
        import fcntl  # not on Windows, where nobody grows a release

        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _told(self, verb: str, key: str) -> Iterator[None]:
        """Errors of the file system as one line that says what could not be done, and why."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise ReleaseError(f"cannot {verb} {self.folder / key}: {reason}") from error


def _create(side: Path) -> BinaryIO:
    for _ in range(100):
        side.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # swept by another process just now
            return side.open("xb")
    raise OSError(errno.ENOENT, "the folder keeps vanishing")


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())


def _is_stale(path: Path) -> bool:
    host, _, rest = path.name.partition(".")
    pid = rest.partition(".")[0]
    if host == _host() and pid.isdecimal() and os.name == "posix":
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # alive, and another user's
    return time.time() - path.stat().st_mtime > STALE_AFTER_SECONDS
