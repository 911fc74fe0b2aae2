"""How two releases, or two versions of one, differ: samples, their images and rows, their terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.format.schema import WITHDRAWN
from manifests.format.segmentation.about import Segmentation
from manifests.query.release import Release
from manifests.text import one_line

IMAGE = "the image"
_IMAGE_COLUMNS = ("sha256", "bytes", "path")
_TERMS = {"name": "name", "license": "licence", "authors": "authors"}
_MAKING = {"model": "model", "sampler": "sampler", "seed": "seed", "fields": "how it was made"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What the second of two releases has otherwise than the first.

    Attributes:
        added, removed: samples that only the second, only the first has, by index.
        withdrawn: samples that are withdrawn in the second and not in the first, and why.
        changed: other samples whose rows differ, and in which columns; their image is `IMAGE`.
        columns: of the manifest that one of them has alone: "+name" the second, "-name" the first.
        terms: name, licence, authors, model, sampling, label maps, where they differ; in words.
    """

    added: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    withdrawn: dict[int, str] = field(default_factory=dict)
    changed: dict[int, list[str]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)

    @property
    def none(self) -> bool:
        """Whether they are the same."""
        return not any(vars(self).values())

    def to_json(self) -> dict[str, Any]:
        return {"equal": self.none, **vars(self)}


def compare(first: Release, second: Release) -> Difference:
    """How the second release differs from the first; samples are the same by their index.

    Raises:
        ReleaseError: a manifest that cannot be read.
    """
    before, after = first.query(), second.query()
    was, now = (table["index"].to_numpy() for table in (before, after))
    added, removed = np.setdiff1d(now, was), np.setdiff1d(was, now)
    before = before.filter(pa.array(~np.isin(was, removed)))
    after = after.filter(pa.array(~np.isin(now, added)))
    withdrawn, changed = _rows(before, after)
    had, has = before.schema.names, after.schema.names
    columns = [f"+{name}" for name in has if name not in had]
    columns += [f"-{name}" for name in had if name not in has]
    return Difference(
        added=added.tolist(),
        removed=removed.tolist(),
        withdrawn=withdrawn,
        changed=changed,
        columns=columns,
        terms=_terms(first.about, second.about),
    )


def _rows(before: pa.Table, after: pa.Table) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Which samples were withdrawn, and which differ otherwise; both tables have the same ones."""
    was, now = (pc.equal(table["status"], WITHDRAWN) for table in (before, after))
    gone = pc.and_(pc.invert(was), now)
    rows = after.filter(gone)
    withdrawn = dict(zip(rows["index"].to_pylist(), rows["error"].to_pylist(), strict=True))
    changed: dict[int, list[str]] = {}
    for name in before.schema.names:
        if name not in after.schema.names:
            continue
        unlike = pc.and_(_unlike(before[name], after[name]), pc.invert(gone))
        told = IMAGE if name in _IMAGE_COLUMNS else name
        for index in after["index"].filter(unlike).to_pylist():
            if told not in changed.setdefault(index, []):
                changed[index].append(told)
    return withdrawn, dict(sorted(changed.items()))


def _unlike(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.ChunkedArray:
    """Where two columns differ; what is nothing in both, or no number in both, is alike."""
    if left.type != right.type:
        left, right = left.cast(pa.string()), right.cast(pa.string())
    one_is_null = pc.not_equal(pc.is_null(left), pc.is_null(right))
    unlike = pc.fill_null(pc.not_equal(left, right), False)
    if pa.types.is_floating(left.type):
        neither = pc.fill_null(pc.and_(pc.is_nan(left), pc.is_nan(right)), False)
        unlike = pc.and_(unlike, pc.invert(neither))
    return pc.or_(one_is_null, unlike)


def _terms(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, word in _TERMS.items():
        if before[name] != after[name]:
            lines.append(f"{word}: {_shown(after[name])}, was {_shown(before[name])}")
    for name, word in _MAKING.items():
        if before[name] != after[name]:
            lines.append(f"{word}: another")
    then, now = (_label_maps(about) for about in (before, after))
    if then != now:
        lines.append(f"label maps: {now}, was {then}")
    return [one_line(line) for line in lines]


def _label_maps(about: Mapping[str, Any]) -> str:
    told = Segmentation.from_json(about.get("segmentation"))
    return f"{told.told} ({told.fingerprint[:12]})" if told else "none"


def _shown(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
