"""Files that a machine makes once, however many of its processes ask for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4


def once(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, which `make` writes where it is not there; whoever asks meanwhile waits.

    It is there whole or not at all, also where its maker dies.

    Args:
        make: writes a file or a folder at the path that it is given.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent / ".lock"):
        if not path.exists():
            side = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
            try:
                make(side)
                os.replace(side, path)
            finally:
                _remove(side)
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """An exclusive lock between processes and threads; freed if its holder dies."""
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(OSError):  # a file system without locks: each makes its own, the last stays
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove(side: Path) -> None:
    if side.is_dir():
        shutil.rmtree(side, ignore_errors=True)
        return
    with suppress(OSError):
        side.unlink(missing_ok=True)
