"""A release in a local folder: side files and renames give it the promises of `Store`."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from manifests.errors import ReleaseError, StorageError
from manifests.storage.base import (
    CHUNK_BYTES,
    WRITE_CHECK_KEY,
    Chunk,
    Entry,
    Store,
    check_key,
    is_hidden,
)
from manifests.storage.confined import Directory, directory_inside, open_inside

SIDE_FOLDER = ".incoming"
LOCK_FILE = ".brainpress-lock"  # where the folder itself cannot be locked
NO_FOLDER_LOCKS = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
STALE_AFTER_SECONDS = 24 * 3600
# Any other write fares no better; with the exit code.
UNUSABLE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE), 1),
    **dict.fromkeys((errno.EROFS, errno.EACCES), 2),  # the wrong place, or the wrong user
}
_counter = itertools.count()


class LocalStore(Store):
    """Objects are files below `folder`.

    A write goes to a side file in `.incoming/`, is flushed to the disk, and is renamed (or, if it
    must be the first, linked) into place: a reader sees a whole object or none. Compare and swap
    holds a lock on the folder. No link in the folder leads a read or a write out of it.
    """

    is_local = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self.uri = str(self.folder)

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return LocalStore, (self.folder,)

    def put(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        with self._side_file(key, data) as (side, target, name):
            side.rename_to(target, name)

    def put_file(self, key: str, path: Path) -> None:
        with self._side_file(key, path) as (side, target, name):
            side.rename_to(target, name)

    def put_chunks(self, key: str, chunks: Iterable[Chunk], *, durable: bool = True) -> None:
        with self._side_file(key, chunks, durable=durable) as (side, target, name):
            side.rename_to(target, name)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        absent = suppress(FileNotFoundError, NotADirectoryError)
        with self._told("write", key), absent, self._parent(key) as (target, name):
            if target.exists(name):
                return False
        with self._side_file(key, data) as (side, target, name):
            try:
                side.link_to(target, name)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                    raise
                with self._locked():  # a file system without hard links, such as exFAT
                    if target.exists(name):
                        return False
                    side.rename_to(target, name)
        return True

    def replace(self, key: str, data: bytes, *, etag: str) -> bool:
        with self._side_file(key, data) as (side, target, name), self._locked():
            try:
                unchanged = _etag(target.stat(name)) == etag
            except FileNotFoundError:
                return False
            if unchanged:
                side.rename_to(target, name)
            return unchanged

    def get_with_etag(self, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        with self.open(key) as file, self._told("read", key):
            status = os.fstat(file.fileno())
            self._check_size(key, status.st_size, most)
            # What is appended meanwhile is not read either.
            return file.read(status.st_size), _etag(status)

    def get_chunks(self, key: str, *, most: int | None = None) -> Iterator[bytes]:
        with self.open(key) as file, self._told("read", key):
            left = os.fstat(file.fileno()).st_size
            self._check_size(key, left, most)
            while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk

    def list(self, prefix: str = "") -> Iterator[Entry]:
        start = prefix.rpartition("/")[0]
        yield from self._below(f"{start}/" if start else "", prefix)

    def _below(self, folder: str, prefix: str) -> Iterator[Entry]:
        """What `list` gives of one folder and those in it; nothing is looked at before its turn.

        In order of keys a folder stands where its name with a slash does: a-b, a/b, a0.
        """
        try:
            found = sorted(
                (f"{folder}{entry.name}{'/' if entry.is_dir() else ''}", entry)
                for entry in os.scandir(self.folder / folder)
                if entry.name != SIDE_FOLDER
            )
        except OSError:  # none is there, it was removed meanwhile, or it is not for us to see
            return
        for key, entry in found:
            if key.endswith("/"):
                if not entry.is_symlink() and (key.startswith(prefix) or prefix.startswith(key)):
                    yield from self._below(key, prefix)
            elif key.startswith(prefix) and not is_hidden(key) and key != LOCK_FILE:
                with suppress(FileNotFoundError):  # removed meanwhile
                    status = Path(entry.path).stat()
                    yield Entry(key, status.st_size, _etag(status), status.st_mtime)

    def look(self, key: str) -> Entry | None:
        try:
            # Opened, because a network file system tells of an unopened file what it remembers.
            with self.open(key) as file:
                status = os.fstat(file.fileno())
        except KeyError:
            return None
        return Entry(key, status.st_size, _etag(status), status.st_mtime)

    def delete(self, key: str, *, etag: str | None = None) -> None:
        lock = self._locked() if etag is not None and self.folder.exists() else nullcontext()
        absent = suppress(FileNotFoundError)
        with self._told("remove", key), absent, lock, self._parent(key) as (folder, name):
            if etag is not None and _etag(folder.stat(name)) != etag:
                return
            folder.remove(name)
        # Nor do folders stay that it leaves empty: BIDS would take one for a subject.
        for parent in list(PurePosixPath(key).parents)[:-1]:
            with suppress(OSError), self._parent(str(parent)) as (folder, name):
                folder.remove_if_empty(name)

    def open(self, key: str) -> BinaryIO:
        check_key(key)
        with self._told("read", key):
            try:
                return open_inside(self.folder, key)
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
        if (self.folder / SIDE_FOLDER).is_symlink():
            return  # nobody knows whose files those are
        with suppress(FileNotFoundError):
            for path in (self.folder / SIDE_FOLDER).iterdir():
                with suppress(FileNotFoundError):
                    if _is_stale(path):
                        path.unlink()
            with suppress(OSError):  # someone is writing
                (self.folder / SIDE_FOLDER).rmdir()

    @contextmanager
    def _parent(self, key: str, *, make: bool = False) -> Iterator[tuple[Directory, str]]:
        """The folder in which the file of `key` lies or will lie, and the file's name."""
        *parts, name = PurePosixPath(check_key(key)).parts
        with directory_inside(self.folder, parts, make=make) as directory:
            yield directory, name

    @contextmanager
    def _side_file(
        self, key: str, data: bytes | Path | Iterable[Chunk], *, durable: bool = True
    ) -> Iterator[tuple[_Side, Directory, str]]:
        """`data`, or a file's, in a side file on the same file system, and where it should go."""
        check_key(key)
        with self._told("write", key), _create(self.folder) as (side, file):
            try:
                if isinstance(data, Path):
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file)
                elif isinstance(data, bytes):
                    file.write(data)
                else:
                    file.writelines(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                file.close()
                with self._parent(key, make=True) as (target, name):
                    yield side, target, name
            finally:
                file.close()
                side.folder.remove(side.name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """An exclusive lock between processes, on the folder itself; freed if its holder dies."""
        import fcntl  # not on Windows, where nobody grows a release

        handle = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_FOLDER_LOCKS:
                    raise
                os.close(handle)
                # NFS locks only what is open for writing. Each opening locks by itself.
                handle = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
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
            line = f"cannot {verb} {self.folder / key}: {reason}"
            if error.errno in UNUSABLE:
                raise StorageError(line, UNUSABLE[error.errno]) from error
            raise ReleaseError(line) from error


@dataclass(frozen=True)
class _Side:
    """A side file, whole and on the disk."""

    folder: Directory
    name: str

    def rename_to(self, target: Directory, name: str) -> None:
        self.folder.replace(self.name, target, name)

    def link_to(self, target: Directory, name: str) -> None:
        self.folder.link(self.name, target, name)


@contextmanager
def _create(folder: Path) -> Iterator[tuple[_Side, BinaryIO]]:
    """A new side file in `folder`, which is made where it is not there."""
    name = f"{_host()}.{os.getpid()}.{next(_counter)}"
    for _ in range(100):
        with suppress(FileExistsError):  # a file: told when it is opened as a folder
            folder.mkdir(parents=True)
        with ExitStack() as stack:
            try:
                inside = directory_inside(folder, [SIDE_FOLDER], make=True)
                directory = stack.enter_context(inside)
                file = directory.create(name)
            except FileNotFoundError:  # swept by another process just now
                continue
            yield _Side(directory, name), file
            return
    raise OSError(errno.ENOENT, "the folder keeps vanishing")


def passing_key(name: str) -> str:
    """A key for what this process leaves for others for a moment: it is in no listing, and swept
    like a side file where the process dies."""
    return f"{SIDE_FOLDER}/{_host()}.{os.getpid()}.{name}"


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
