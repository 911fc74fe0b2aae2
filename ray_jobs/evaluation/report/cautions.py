"""Every figure of an evaluation with a caution beside it, where it rests on too few volumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ldm.evaluation.statistics.enough import MEANINGS, caution

CAUTION = "caution"
_HALVES, _FID = "halves_", "fid_"
_APART = "told_apart"  # all below it are areas under a curve


def cautioned(findings: Mapping[str, Any]) -> dict[str, Any]:
    """The findings, each figure in them that needs one with its `caution`; the rest as it is."""
    return {name: _told(value, name, None) for name, value in findings.items()}


def meanings(findings: Any) -> list[str]:
    """What the cautions in the findings mean, each once."""
    met = {text.split(":")[0] for text in _met(findings)}
    return [f"{word}: {meaning}" for word, meaning in MEANINGS.items() if word in met]


def _told(value: Any, kind: str, dimensions: int | None) -> Any:
    if isinstance(value, list):
        return [_told(one, kind, dimensions) for one in value]
    if not isinstance(value, Mapping):
        return value
    if "value" in value and "n" in value:
        text = caution(value, *_kind(kind, value.get("dimensions") or dimensions))
        return {**value, CAUTION: text} if text else dict(value)
    found = {
        name: _told(one, kind if kind == _APART else name, _features(value, name, dimensions))
        for name, one in value.items()
    }
    if "effects" in value and (text := caution({"value": 0.0, "n": value["n"]}, "response")):
        found[CAUTION] = text
    return found


def _kind(name: str, dimensions: int | None) -> tuple[str, int | None]:
    """What a figure of that name is: of equal halves, the ratio's bias cancels mostly."""
    if name == "ratio":
        return name, None
    return ("fid" if dimensions else name), dimensions


def _features(beside: Mapping[str, Any], name: str, dimensions: int | None) -> int | None:
    """How many features the halves of a network are of: as its distance, which stands beside."""
    if not name.startswith(_HALVES):
        return dimensions
    return beside.get(_FID + name.removeprefix(_HALVES), {}).get("dimensions")


def _met(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _met(one)
    elif isinstance(value, Mapping):
        if isinstance(value.get(CAUTION), str):
            yield value[CAUTION]
        for one in value.values():
            yield from _met(one)
