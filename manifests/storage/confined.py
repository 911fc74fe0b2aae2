"""Files below one folder, wherever links in it point: nothing is read or written outside of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ATTEMPTS = 10  # to open a file that is being replaced
_HANDLES = {os.open, os.mkdir, os.rename} <= os.supports_dir_fd  # not on Windows
# Opening a pipe must not wait for its other end.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def open_inside(folder: Path, key: str) -> BinaryIO:
    """The file at `key` for reading; a link may lead to another file of `folder` and no further.

    Args:
        folder: without links itself (`Path.resolve`).

    Raises:
        OSError: there is none, no plain file, or a link that leads out of the folder.
    """
    path = folder / key
    for _ in range(ATTEMPTS):
        handle = os.open(path, _READ)
        try:
            status = os.fstat(handle)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "Not a plain file")
            real = path.resolve(strict=True)
            if not real.is_relative_to(folder):
                raise OSError(errno.ELOOP, "A link leads out of the folder")
            # The file that was opened, and not one that a link led to a moment before.
            if os.path.samestat(real.stat(), status):
                return os.fdopen(handle, "rb")
        except FileNotFoundError:  # replaced or removed since it was opened
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise OSError(errno.EBUSY, "It keeps changing")


@dataclass(frozen=True)
class Directory:
    """A folder to write to, kept open where the system can: links put there later lead nowhere."""

    path: Path
    handle: int | None

    def create(self, name: str) -> BinaryIO:
        """A new file for writing. Raises FileExistsError where the name is taken."""
        return os.fdopen(os.open(self._at(name), _CREATE, 0o666, dir_fd=self.handle), "wb")

    def replace(self, name: str, target: Directory, new: str) -> None:
        """Rename, over what is there; of a link the link itself is replaced."""
        os.replace(
            self._at(name), target._at(new), src_dir_fd=self.handle, dst_dir_fd=target.handle
        )

    def link(self, name: str, target: Directory, new: str) -> None:
        """A second name of a file. Raises FileExistsError where the name is taken."""
        os.link(self._at(name), target._at(new), src_dir_fd=self.handle, dst_dir_fd=target.handle)

    def stat(self, name: str) -> os.stat_result:
        return os.stat(self._at(name), dir_fd=self.handle, follow_symlinks=False)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._at(name), dir_fd=self.handle)

    def remove_if_empty(self, name: str) -> None:
        """Remove a folder that holds nothing; any other stays."""
        with suppress(OSError):
            os.rmdir(self._at(name), dir_fd=self.handle)

    def exists(self, name: str) -> bool:
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def _at(self, name: str) -> str:
        return name if self.handle is not None else str(self.path / name)


@contextmanager
def directory_inside(
    folder: Path, parts: Sequence[str], *, make: bool = False
) -> Iterator[Directory]:
    """The folder below `folder` that is reached by `parts`, none of which may be a link.

    Raises:
        OSError: one is not there (and not to be made), or is a link or a file.
    """
    path = folder.joinpath(*parts)
    if not _HANDLES:
        for step in [*reversed(path.parents), path][len(folder.parts) :]:
            if step.is_symlink():
                raise NotADirectoryError(errno.ENOTDIR, "A link stands in the way")
            if make:
                step.mkdir(exist_ok=True)
        yield Directory(path, None)
        return
    flags = os.O_RDONLY | os.O_DIRECTORY
    handle = os.open(folder, flags)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=handle)
            try:
                below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=handle)
            except OSError as error:
                if stat.S_ISLNK(os.lstat(part, dir_fd=handle).st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, "A link stands in the way") from error
                raise
            os.close(handle)
            handle = below
        yield Directory(path, handle)
    finally:
        os.close(handle)
