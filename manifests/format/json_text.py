"""JSON as a release has it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from manifests.errors import ReleaseError

# Of a document; release.json of ten million samples, made in shards of 64, has 25 MB.
MOST_JSON_BYTES = 32 * 2**20
MOST_VALUES = 4_000_000
DEEPEST = 32
LARGEST = 2**63 - 1  # of a whole number, as in an int64 column


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """JSON for people and for digests: indented, in the order given, one newline at the end.

    A number that is not finite, which JSON does not know, becomes null.

    Raises:
        ReleaseError: more than `parse_json` reads; exit code 1.
    """
    text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)
    data = (text + "\n").encode()
    try:
        _check_size(data)
    except ValueError as error:
        line = f"a JSON document that begins {text[:60]!a} is larger than its readers take: {error}"
        raise ReleaseError(line, exit_code=1) from None
    return data


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `data`, which may be anybody's.

    Raises:
        ReleaseError: not JSON, no object, nested too deep, too large, a number out of range, or
            text that no encoding can write. Exit code 1.
    """
    try:
        _check_size(data)
        document = json.loads(
            data.decode(), parse_constant=_refuse, parse_float=_float, parse_int=_int
        )
        if not isinstance(document, dict):
            raise ValueError("expected a JSON object")
        _check_depth(document)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise ReleaseError(f"{name}: not JSON that can be read ({reason})", exit_code=1) from None
    return document


def _check_size(data: bytes) -> None:
    if len(data) > MOST_JSON_BYTES:
        raise ValueError(f"{len(data):,} bytes, expected at most {MOST_JSON_BYTES:,}")
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is out of range")
    return value


def _int(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > LARGEST:
        raise ValueError(f"the number {text[:40]} is out of range")
    return int(text)


def _check_depth(document: dict[str, Any]) -> None:
    """Refuse what later steps would stumble over: great depth, and halves of surrogate pairs."""
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                value.encode()
            elif isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
        if not below:
            return
        level = below
    raise ValueError(f"nested more than {DEEPEST} deep")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
