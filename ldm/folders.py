"""Folders written whole or not at all, and where the models that come along lie."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parent / "models"


def digests(files: dict[str, bytes]) -> dict[str, Any]:
    """Size and digest of each file, by name, as a description tells them."""
    return {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in sorted(files.items())
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write files to a side folder, then rename it over `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    side = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    side.chmod(0o755)
    for name, data in files.items():
        (side / name).write_bytes(data)
    replace_folder(side, folder)


def replace_folder(side: Path, folder: Path) -> None:
    """Put `side` in the place of `folder`; what was there is removed afterwards."""
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        os.rename(folder, old / folder.name)
        os.rename(side, folder)
        shutil.rmtree(old)
    else:
        os.rename(side, folder)
