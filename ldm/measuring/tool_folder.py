"""A measuring tool on disk: its description, its weights, their digests; written whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ldm.folders import SHIPPED, digests, write_folder
from ldm.untrusted import MOST_BYTES, parse_object

FORMAT, VERSION = "brainpress-tool", 1
CONFIG, CARD = "model.json", "README.md"
SEGMENTER, PEOPLE, REGIONS = "segmenter", "people", "regions"


def write(folder: Path, document: dict[str, Any], files: dict[str, bytes]) -> None:
    """Write a tool's folder: made at a side name, then renamed over `folder`.

    Args:
        document: its description; what the format adds is added here.
        files: its other files, by name.
    """
    told = {
        "format": FORMAT,
        "version": VERSION,
        **document,
        "files": digests(files),
    }
    write_folder(folder, {**files, CONFIG: (json.dumps(told, indent=1) + "\n").encode()})


def read(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A tool's description and its files, each of the size and digest that are written there.

    Args:
        kind: what the tool must be, one of the above.

    Raises:
        LdmError: no such tool there, a newer one, or a file that is missing or damaged.
    """
    try:
        with (folder / CONFIG).open("rb") as stream:
            document = parse_object(stream.read(MOST_BYTES + 1))
        if (document.get("format"), document.get("kind")) != (FORMAT, kind):
            raise LdmError(f"{folder}: not a {kind}; expected a folder that training it wrote")
        if document.get("version") != VERSION:
            raise LdmError(
                f"{folder}: tool format version {document.get('version')}, this brainpress reads "
                f"version {VERSION}; install the brainpress that wrote it"
            )
        files = {
            name: _verified(folder / Path(name).name, entry)
            for name, entry in document["files"].items()
        }
    except OSError as error:
        raise LdmError(f"{folder}: no measuring tool there ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise LdmError(f"{folder}: {CONFIG} is damaged ({reason}); copy it again") from None
    return document, files


def shipped(kind: str) -> Path:
    """The folder of the tool that comes with brainpress."""
    return SHIPPED / kind


def _verified(path: Path, entry: dict[str, Any]) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(int(entry["bytes"]) + 1)
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise LdmError(
            f"{path.parent}: {path.name} is damaged (its sha256 is not that of {CONFIG}); "
            "copy the folder again"
        )
    return data
