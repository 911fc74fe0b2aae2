"""Mutations that keep most of a valid file: bits, cuts, splices, lengths, values of JSON."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

EXTREMES = (0, 1, -1, 7, 127, 255, 2**15 - 1, 2**16, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**63)
FIELDS = ("<H", ">H", "<I", ">I", "<Q", ">Q", "<f", ">f")
FLOATS = (0.0, -1.0, 1e38, 1e-38, float("nan"), float("inf"), -float("inf"), 353.0)
NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1, 3, 10**6, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", "F", "../../x", "/etc/passwd", "C:\\x", "a\x00b", "\x1b[31mred\x07",
    "<script>alert(1)</script>", "| a | `b` [c](javascript:d)", "\ud800", "é" * 300, "9" * 5000,
    "$import os", [], {}, [1], [[]], ["x", "x"], {"x": 1}, [0] * 50, list("FM"), [1e308, -1e308],
    [float("nan")] * 3, [8, 8, 8], [10**6] * 3, {"a": {"a": {"a": {}}}},
)  # fmt: skip


@st.composite
def mutated_bytes(draw: st.DrawFn, valid: bytes, *, most: int = 3) -> bytes:
    """`valid` with up to `most` changes."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, most))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        length = draw(st.integers(1, 64))
        match draw(
            st.sampled_from(["bit", "byte", "cut", "drop", "twice", "insert", "field", "swap"])
        ):
            case "bit":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + length]
            case "twice":
                data[at:at] = data[at : at + length] * draw(st.sampled_from([1, 2, 100]))
            case "insert":
                data[at:at] = draw(st.binary(max_size=16))
            case "field":
                field = draw(fields())
                data[at : at + len(field)] = field
            case "swap":
                other = draw(st.integers(0, len(data) - 1))
                here, there = data[at : at + length], data[other : other + length]
                data[at : at + length], data[other : other + length] = there, here
    return bytes(data)


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    """A number as a file has it, most often one that no reader expects."""
    kind = draw(st.sampled_from(FIELDS))
    if kind.endswith("f"):
        return struct.pack(kind, draw(st.sampled_from(FLOATS)))
    bits = 8 * struct.calcsize(kind)
    return struct.pack(kind, draw(st.sampled_from(EXTREMES)) % 2**bits)


@st.composite
def mutated_document(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    """`valid` with values swapped, removed, renamed, repeated or wrapped."""
    document = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        holder, name = draw(st.sampled_from(_places(document)))
        match draw(
            st.sampled_from(["value", "value", "value", "drop", "rename", "repeat", "wrap"])
        ):
            case "value":
                holder[name] = copy.deepcopy(draw(st.sampled_from(NASTY)))
            case "drop":
                del holder[name]
            case "rename" if isinstance(holder, dict):
                holder[str(draw(st.sampled_from(NASTY)))[:60]] = holder.pop(name)
            case "repeat" if isinstance(holder[name], list):
                holder[name] = holder[name] * draw(st.sampled_from([2, 3, 100]))
            case "wrap":
                for _ in range(draw(st.sampled_from([1, 5, 60]))):
                    holder[name] = {"x": holder[name]} if draw(st.booleans()) else [holder[name]]
        if not document:
            break
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every (holder, name or position) in a document."""
    found: list[tuple[Any, Any]] = []
    rest: list[Any] = [document]
    while rest:
        holder = rest.pop()
        names: Sequence[Any] = list(holder) if isinstance(holder, dict) else range(len(holder))
        for name in names:
            found.append((holder, name))
            if isinstance(holder[name], (dict, list)):
                rest.append(holder[name])
    return found


def dumped(document: dict[str, Any]) -> bytes:
    """JSON as anybody might write it: NaN, Infinity and halves of surrogate pairs included."""
    return json.dumps(document).encode()


def mutated_json(valid: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """The bytes of a JSON file that was meant to be `valid`."""
    raw = dumped(valid)
    whole = mutated_document(valid).map(dumped)
    return st.one_of(whole, whole, whole, mutated_bytes(raw), st.sampled_from(_bombs(raw)))


def _bombs(raw: bytes) -> list[bytes]:
    return [
        b"",
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"a": [' + b"[]," * 5_000_000 + b"[]]}",
        raw[:-1] + b', "x": ' + b"9" * 10_000 + b"}",
        raw[:-1] + b', "x": 1e999}',
        b"\xff\xfe" + raw,
        raw.decode().encode("utf-16"),
    ]


@st.composite
def mutated_words(draw: st.DrawFn, valid: Sequence[str], words: Sequence[str]) -> str:
    """One of the texts with words dropped, doubled and put in, or characters changed."""
    text = draw(st.sampled_from(list(valid)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["word", "drop", "twice", "any"])):
            case "word":
                text = f"{text[:at]} {draw(st.sampled_from(list(words)))} {text[at:]}"
            case "drop":
                text = text[:at] + text[at + draw(st.integers(1, 8)) :]
            case "twice":
                text = text[:at] + text[at:] * draw(st.sampled_from([2, 2, 40]))
            case "any":
                text = text[:at] + draw(st.text(max_size=4)) + text[at:]
    return text
