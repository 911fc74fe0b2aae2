"""SHA-256, the digest by which a release names bytes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


def sha256(data: bytes) -> str:
    """The digest by which a release names bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """The same of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


DIGEST = re.compile("[0-9a-f]{64}")
