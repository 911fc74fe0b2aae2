"""Presets as files: JSON, every field on a line, checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ldm.training.presets import fields
from ldm.training.presets.config import Preset
from ldm.training.presets.named import PRESETS
from ldm.untrusted import MOST_BYTES, parse_object

SUFFIX = ".json"


def preset(source: str) -> Preset:
    """The preset of this name, or of the file at this path.

    Raises:
        LdmError: neither, or a file that cannot be read, with a field that does not work.
    """
    if source in PRESETS:
        return PRESETS[source]()
    path = Path(source).expanduser()
    if path.suffix == SUFFIX or path.is_file():
        return read_preset(path)
    raise LdmError(
        f"preset {source!r}: expected one of {', '.join(PRESETS)}, or a file such as "
        "`brainpress preset demo --out my-preset.json` writes"
    )


def read_preset(path: Path) -> Preset:
    """The preset in a file, called as the file is.

    Raises:
        LdmError: it cannot be read, or a field is unknown, missing, of another type or does not
            work.
    """
    try:
        with path.open("rb") as stream:
            document = parse_object(stream.read(MOST_BYTES + 1))
    except OSError as error:
        raise LdmError(
            f"preset {path}: {error.strerror}; `brainpress preset demo --out {path.name}` writes "
            "one to begin with"
        ) from None
    except json.JSONDecodeError as error:
        raise LdmError(
            f"preset {path}: not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    except ValueError as error:
        raise LdmError(f"preset {path}: not a preset: {error}") from None
    return fields.read(Preset, document, path.name)


def on_card(chosen: Preset) -> dict[str, Any]:
    """What a card tells of the preset: its name, and of one that is a file every field."""
    told: dict[str, Any] = {"preset": chosen.name}
    if chosen.name not in PRESETS:
        told["preset_fields"] = fields.told(chosen)
    return told


def preset_text(chosen: Preset) -> str:
    """A preset as its file, every field with its value: what `read_preset` reads."""
    entries = [
        f" {json.dumps(name)}: {_entry(value)}" for name, value in fields.told(chosen).items()
    ]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _entry(value: Any) -> str:
    """A part with a field a line, lists on one line; anything else as JSON has it."""
    if not isinstance(value, dict):
        return json.dumps(value)
    lines = [f"  {json.dumps(name)}: {json.dumps(field)}" for name, field in value.items()]
    return "{\n" + ",\n".join(lines) + "\n }"
