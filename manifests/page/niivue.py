"""Where a page takes NiiVue from: a pinned file of a public mirror, or one of the user's own."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from manifests.errors import ReleaseError

VERSION = "0.69.0"
URL = f"https://cdn.jsdelivr.net/npm/@niivue/niivue@{VERSION}/dist/niivue.umd.js"
# Of dist/niivue.umd.js in the package @niivue/niivue of that version; docs/page.md says how.
INTEGRITY = "sha384-Oyof6MyzZMH1tvMLLYFRQLWZtk9Y/WbiL3wkdXzwaCS82xRXXy9U+kRrkDDAVq6E"
LOCAL_KEY = "page/niivue.umd.js"
MOST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Viewer:
    """A file that defines `niivue.Niivue` for a page.

    Attributes:
        src: as the page's script names it: an https address, or a path relative to the page.
        integrity: what its bytes must be, as browsers write it; "" if nobody said.
        data: its bytes, where they become a file of the page.
    """

    src: str
    integrity: str
    data: bytes | None = None

    @property
    def allowed(self) -> str:
        """What a Content-Security-Policy must allow for it, besides the page's own files."""
        return "" if self.data is not None else self.src


def niivue(viewer: str | None) -> Viewer:
    """NiiVue from the pinned address, or from `viewer`.

    Args:
        viewer: an https address, whose integrity may follow as #sha384-...; or the path of a
            `niivue.umd.js`, which becomes a file of the page.

    Raises:
        ReleaseError: an address or a file that cannot be that.
    """
    if viewer is None:
        return Viewer(URL, INTEGRITY)
    if "://" in viewer:
        src, _, integrity = viewer.partition("#")
        if not re.fullmatch(r"https://[\w.-]+(:\d+)?/[\w./@~%+-]*", src, re.ASCII):
            raise ReleaseError(f"viewer {src[:200]!a}: expected a plain https:// address")
        if integrity and not re.fullmatch(r"sha(256|384|512)-[A-Za-z0-9+/]+={0,2}", integrity):
            raise ReleaseError(f"viewer: integrity {integrity[:100]!a}, expected sha384-...")
        return Viewer(src, integrity or (INTEGRITY if src == URL else ""))
    data = _read(Path(viewer))
    digest = base64.b64encode(hashlib.sha384(data).digest()).decode()
    return Viewer(LOCAL_KEY, f"sha384-{digest}", data)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ReleaseError(f"viewer {path}: cannot be read ({error.strerror})") from error
    if len(data) > MOST_BYTES or b"niivue={}" not in data.replace(b" ", b""):
        raise ReleaseError(f"viewer {path}: expected dist/niivue.umd.js of the package NiiVue")
    return data
