"""Digests of large weight files, computed in one pass and remembered while the file is the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ldm.models.bundle.fetch import cache_folder

CHUNK_BYTES = 1 << 22


def digests(path: Path) -> dict[str, Any]:
    """`sha256` and `md5`, hexadecimal, and `bytes` of a PyTorch weight file that is whole.

    Remembered in the cache folder under the file's path, size and time of change: a network of
    2.2 GB is read once, not by every worker again.

    Raises:
        LdmError: damaged: cut short, or with a wrong checksum inside.
    """
    state = path.stat()
    identity = f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {state.st_ino}"
    kept = cache_folder() / "digests" / f"{hashlib.sha256(identity.encode()).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError):
        document = json.loads(kept.read_text())
        if isinstance(document, dict) and {"sha256", "md5", "bytes"} <= document.keys():
            return document
    found = _compute(path)
    with contextlib.suppress(OSError):  # a cache nobody can write to costs time, no more
        kept.parent.mkdir(parents=True, exist_ok=True)
        side = kept.with_name(f".{kept.name}.{os.getpid()}")
        side.write_text(json.dumps(found))
        os.replace(side, kept)
    return found


def _compute(path: Path) -> dict[str, Any]:
    _check_whole(path)
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    return {"sha256": sha256.hexdigest(), "md5": md5.hexdigest(), "bytes": size}


def _check_whole(path: Path) -> None:
    """A file of `torch.save` is a zip with a CRC-32 for every tensor; torch does not check them."""
    try:
        with zipfile.ZipFile(path) as archive:
            # torch.save compresses nothing; what unpacks to more than it is was not made by it.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise zipfile.BadZipFile("compressed entries")
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, LookupError) as error:
        raise LdmError(
            f"{path}: not a whole file of PyTorch weights ({error}); copy it again"
        ) from None
    if broken is not None:
        raise LdmError(f"{path}: damaged (the checksum of {broken} is wrong); copy it again")
