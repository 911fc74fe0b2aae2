"""What a cohort's dataset_description.json says of its name, licence and whom to credit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ldm.untrusted import MOST_BYTES, first_line, one_line, parse_object

NAME = "dataset_description.json"
# BIDS's names, and ours.
FIELDS = {"Name": "dataset", "License": "license", "HowToAcknowledge": "attribution"}
_LOST = "so the cohort's licence is not known and its models will have none; mend it and run again"


def told_description(bids: Path) -> tuple[dict[str, str], list[str]]:
    """What the file says, by our names, and a line for each thing that could not be used.

    A byte order mark is passed over, and bytes that are no UTF-8 are read as Latin-1.
    """
    path = bids / NAME
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [f"{NAME} cannot be read ({error.strerror}), {_LOST}"]
    try:
        found, problems = _parsed(data)
    except ValueError as error:
        return {}, [f"{NAME} is damaged ({_place(error)}), {_LOST}"]
    told = {}
    for theirs, ours in FIELDS.items():
        text = _text(found.get(theirs))
        if text:
            told[ours] = text
        elif found.get(theirs) not in (None, "", []):
            lost = f": {_LOST}" if ours == "license" else ""
            problems.append(f"{NAME}: {theirs} is {found[theirs]!r:.60}, expected text{lost}")
    return told, problems


def _parsed(data: bytes) -> tuple[dict[str, Any], list[str]]:
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return parse_object(data.decode(encoding).encode()), []
    try:
        data.decode()
    except UnicodeDecodeError:
        return parse_object(data.decode("latin-1").encode()), [
            f"{NAME} is not UTF-8: read as Latin-1, check its letters"
        ]
    return parse_object(data), []


def _text(value: object) -> str:
    """A text on one line; of a list of texts all of them."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = ", ".join(value)
    return one_line(value) if isinstance(value, str) else ""


def _place(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, line {error.lineno} column {error.colno}"
    return first_line(error)
