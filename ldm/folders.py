"""Folders written whole or not at all, and where the models that come along lie."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parent / "models"


def digests(files: dict[str, bytes]) -> dict[str, Any]:
    """Size and digest of each file, by name, as a description tells them."""
    return {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in sorted(files.items())
    }


def side_folder(folder: Path) -> Path:
    """A new, empty folder beside `folder`, to be filled and renamed over it.

    Who may read it is what the umask says, as of any other folder (`tempfile.mkdtemp` would have
    it for the owner alone).
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    side = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    side.mkdir()
    return side


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write files to a side folder, then rename it over `folder`."""
    side = side_folder(folder)
    for name, data in files.items():
        (side / name).write_bytes(data)
    replace_folder(side, folder)


def replace_folder(side: Path, folder: Path) -> None:
    """Put `side` in the place of `folder`; what was there is removed afterwards."""
    if folder.exists():
        old = side_folder(folder)
        os.rename(folder, old / folder.name)
        os.rename(side, folder)
        shutil.rmtree(old)
    else:
        os.rename(side, folder)
