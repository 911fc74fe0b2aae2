"""JSON of a model that may be anybody's: bounded before it is parsed, and shallow."""

from __future__ import annotations

import json
from typing import Any

MOST_BYTES = 16 * 2**20
MOST_VALUES = 1_000_000
DEEPEST = 40


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`.

    Raises:
        ValueError: not JSON, no object, larger or deeper than a model's documents are, or text
            that no encoding can write.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"{len(data):,} bytes, expected at most {MOST_BYTES:,}")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    _check(document, DEEPEST)
    return document


def _check(value: Any, depth: int) -> None:
    if not depth:
        raise ValueError(f"nested more than {DEEPEST} deep")
    if isinstance(value, str):
        value.encode()  # not half of a surrogate pair
    elif isinstance(value, dict):
        for name, item in value.items():
            name.encode()
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
