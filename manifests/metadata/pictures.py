"""What was found of the images of a release, in every version, without samples withdrawn since.

`evaluation.json` names under `pictured` whom each picture of the report shows; one of which it does
not tell may show anybody.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.json_text import json_bytes, parse_json
from manifests.format.layout import (
    EVALUATION,
    MEASURED_KEY,
    RELEASE_KEY,
    VERSIONS,
    participant_id,
)
from manifests.format.measured import same_measures, without
from manifests.format.parquet import parquet_bytes, table_from_bytes
from manifests.format.segmentation.documents import volumes_tsv
from manifests.format.segmentation.layout import REGIONS_KEY, VOLUMES_KEY
from manifests.format.segmentation.table import is_regions
from manifests.storage.base import Store

ABOUT, HTML, MARKDOWN = "evaluation.json", "report.html", "report.md"
TAKEN_OUT = "A picture was here that showed, or may have shown, a sample that was withdrawn since."
_EMBEDDED = re.compile(r"data:image/[a-z+]+;base64,")


@dataclass(kw_only=True)
class Cleared:
    """What becomes of the files of a release's evaluations.

    Attributes:
        files: those that change, by key.
        removed: keys of pictures that go.
        tables: keys of tables that lose rows, among `files`.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    tables: list[str] = field(default_factory=list)

    @property
    def shown(self) -> list[str]:
        """Keys of what tells or shows something of a withdrawn sample."""
        pages = [key for key in self.files if key.endswith((HTML, MARKDOWN))]
        return sorted([*self.removed, *pages, *self.tables])


def without_pictures(
    files: Mapping[str, bytes], gone: Collection[int]
) -> tuple[dict[str, bytes], set[str]]:
    """Which files of an evaluation change, and which go, where those samples were withdrawn.

    Args:
        files: all of `evaluation/`, by their names there.
        gone: indices.
    """
    names = {participant_id(index) for index in gone}
    told = _told(files.get(ABOUT))
    pictures = [name for name in files if name.endswith(".png")]
    removed = {name for name in pictures if _may_show(told, name, names)}
    if not names or (told is not None and not removed):
        return {}, set()
    page, text = (files.get(name, b"").decode("utf-8", "replace") for name in (HTML, MARKDOWN))
    for name in sorted(removed):
        page = _cut(page, base64.b64encode(files[name]).decode())
        link = rf"!\[[^\n]*\]\({re.escape(name)}\)"
        text = re.sub(link, lambda _: f"*{TAKEN_OUT}*", text)
    while told is None and (found := _EMBEDDED.search(page)):  # whatever it shows
        page = _cut(page, found[0])
    new = {HTML: page.encode(), MARKDOWN: text.encode()}
    return {k: data for k, data in new.items() if k in files and data != files[k]}, removed


def cleared(store: Store, digests: Mapping[str, str], gone: Collection[int]) -> Cleared:
    """What of a release's evaluations, today's and those of its versions, changes and goes.

    Args:
        digests: of the release's files, by key.
        gone: indices of all samples that were withdrawn.
    """
    done = Cleared()
    for place in _places(digests) if gone else ():
        _clear(store, digests, gone, place, done)
    return done


def _clear(
    store: Store,
    digests: Mapping[str, str],
    gone: Collection[int],
    place: str,
    done: Cleared,
) -> None:
    """One evaluation, at `evaluation/` below `place`; with the release.json of its version."""
    folder, measured = f"{place}{EVALUATION}/", f"{place}{MEASURED_KEY}"
    stored = dict(_read(store, digests, folder))
    names = {key.removeprefix(folder): data for key, data in stored.items()}
    new, removed = without_pictures(names, gone)
    found = {key: new.get(key.removeprefix(folder), data) for key, data in stored.items()}
    for key, data in _read(store, digests, measured):
        stored[key], found[key] = data, _without_rows(data, gone, f"{store.uri}/{key}")
    rows, volumes = f"{place}{REGIONS_KEY}", f"{place}{VOLUMES_KEY}"
    for key, data in _read(store, digests, rows):
        table = table_from_bytes(data, f"{store.uri}/{key}")
        kept = without(table, gone) if is_regions(table.schema) else table
        if kept is not table:
            stored[key], found[key] = data, parquet_bytes(kept)
            stored[volumes], found[volumes] = b"", volumes_tsv(kept)
    keys = {f"{folder}{name}" for name in removed}
    changed = {key: found[key] for key in sorted(found.keys() - keys) if found[key] != stored[key]}
    done.tables += [key for key in changed if key in (measured, rows)]
    if place and (changed or keys):
        changed[f"{place}{RELEASE_KEY}"] = _version(store, place, changed, keys)
    done.files |= changed
    done.removed |= keys


def _without_rows(data: bytes, gone: Collection[int], name: str) -> bytes:
    table = table_from_bytes(data, name)
    if not same_measures(table.schema):
        return data
    kept = without(table, gone)
    return data if kept is table else parquet_bytes(kept)


def _version(store: Store, place: str, changed: Mapping[str, bytes], removed: set[str]) -> bytes:
    """The release.json of a version, with the digests as they are to be."""
    about = parse_json(store.get(f"{place}{RELEASE_KEY}"), f"{store.uri}/{place}{RELEASE_KEY}")
    gone = {key.removeprefix(place) for key in removed}
    new = {key.removeprefix(place): sha256(data) for key, data in changed.items()}
    files = {key: digest for key, digest in about["files"].items() if key not in gone}
    return json_bytes({**about, "files": dict(sorted({**files, **new}.items()))})


def _places(digests: Mapping[str, str]) -> list[str]:
    """Where evaluations lie: "" for today's, `versions/1.0.0/` and so on."""
    found = {""}
    for key in digests:
        parts = key.split("/")
        if parts[0] == VERSIONS and len(parts) > 2:
            found.add(f"{VERSIONS}/{parts[1]}/")
    return sorted(found)


def _read(store: Store, digests: Mapping[str, str], prefix: str) -> Iterable[tuple[str, bytes]]:
    for key in sorted(digests):
        if key.startswith(prefix):
            try:
                yield key, store.get(key)
            except KeyError:  # `verify` tells of it
                continue


def _told(data: bytes | None) -> dict[str, Any] | None:
    """Whom each picture shows, by its name; None where the evaluation does not tell."""
    try:
        about = parse_json(data, ABOUT).get("pictured") if data else None
    except ReleaseError:
        return None
    return about if isinstance(about, dict) else None


def _may_show(told: Mapping[str, Any] | None, name: str, gone: set[str]) -> bool:
    shown = told.get(name) if told is not None else None
    return not isinstance(shown, list) or not gone.isdisjoint(map(str, shown))


def _cut(page: str, data: str) -> str:
    """The page without the figure that has `data`, or without the picture alone."""
    at = page.find(data)
    if at < 0:
        return page
    start, end = page.rfind("<figure>", 0, at), page.find("</figure>", at)
    if start < 0 or end < 0 or "</figure>" in page[start:at]:
        start, end = page.rfind("<img", 0, at), page.find(">", at)
        if start < 0 or end < 0:
            return page[:at] + page[at + len(data) :]
        return f"{page[:start]}{TAKEN_OUT}{page[end + 1 :]}"
    return f"{page[:start]}<p>{TAKEN_OUT}</p>{page[end + len('</figure>') :]}"
