"""Files that stand for an image whose content is elsewhere: git-annex, Git LFS, broken links."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path

_ANNEX, _GIT = "annex/objects/", "/.git/"
_ROOTS = (".git", ".datalad", "dataset_description.json")
_LFS = b"version https://git-lfs"
LONGEST_POINTER = 32_768  # bytes; git-annex's own bound


def why_absent(path: Path) -> str | None:
    """Why there is no content in `path`, and how to get it; None where there may be some.

    Reads no more than the beginning of the file.
    """
    try:
        with path.open("rb") as stream:
            return of_pointer(path, stream.read(512))
    except IsADirectoryError:
        return "a folder, expected a file"
    except OSError as error:
        return _of_link(path, error)


def of_pointer(path: Path, beginning: bytes) -> str | None:
    """What a file says that stands for its content, by its first bytes; None for any other."""
    if not beginning:
        return "an empty file (0 bytes)"
    if beginning.startswith(_LFS):
        root, name = _place(path)
        return f"a Git LFS pointer, its content is not here: git lfs pull --include {name}{root}"
    line = beginning.split(b"\n", 1)[0].replace(b"\\", b"/")
    if _ANNEX.encode() in line and line.startswith((b"/annex/", b"../", b".git/")):
        return _annexed(path)
    return None


def _of_link(path: Path, error: OSError) -> str | None:
    if path.is_symlink():
        target = str(path.readlink())
        if _ANNEX in target.replace("\\", "/"):
            return _annexed(path)
        if error.errno == errno.ELOOP:
            return f"a link that leads to itself ({target})"
        if isinstance(error, FileNotFoundError):
            return f"a broken link (nothing is at {target})"
    return error.strerror if isinstance(error, PermissionError) else None


def _annexed(path: Path) -> str:
    root, name = _place(path)
    told = f"datalad get {name}, or git annex get {name}{root}"
    return f"its content is not here but in git-annex: {told}"


def _place(path: Path) -> tuple[str, str]:
    """` in ROOT` of the repository that a file is in, and its path in there, quoted."""
    path = path.absolute()
    roots = [p for p in path.parents if any((p / mark).exists() for mark in _ROOTS)]
    linked = os.path.normpath(path.parent / path.readlink()) if path.is_symlink() else ""
    if _GIT in linked:  # a dataset in a dataset: the link knows which of them
        of_link = Path(linked.partition(_GIT)[0])
        roots = [of_link] if (of_link / ".git").exists() or not roots else roots
    for root in roots[:1]:
        if path.is_relative_to(root):
            return f", in {root}", shlex.quote(str(path.relative_to(root)))
    return "", shlex.quote(str(path))
