"""Everything of a release but its images and parts: composed first, then written, in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from manifests.digests import file_sha256, sha256
from manifests.format.document import ReleaseDocument
from manifests.format.json_text import json_bytes
from manifests.format.layout import (
    CROISSANT_KEY,
    HUB_TABLE_KEY,
    MANIFEST_KEY,
    MEASURED_KEY,
    RELEASE_FORMAT,
    RELEASE_KEY,
    RELEASE_VERSION,
)
from manifests.format.published import changed_since
from manifests.format.schema import SCHEMA_VERSION
from manifests.format.segmentation.layout import REGIONS_KEY
from manifests.metadata.bids import documents
from manifests.metadata.croissant import croissant
from manifests.metadata.hub import write_hub_table
from manifests.metadata.rows import RowFiles
from manifests.metadata.spread import contrasts_there, spread_table
from manifests.storage.base import Store

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Staged:
    """The files of a release, by key, as they are to be.

    Attributes:
        small, large: those in memory, and those that are files on this machine.
        about: the content of release.json.
    """

    small: Mapping[str, bytes]
    large: Mapping[str, Path]
    about: Mapping[str, Any]

    @property
    def files(self) -> dict[str, bytes | Path]:
        """All but release.json, by key."""
        return {**self.small, **self.large}

    @property
    def release_json(self) -> bytes:
        return json_bytes(self.about)

    def write(self, store: Store) -> None:
        """Put every file, release.json last: whoever finds it finds all of it."""
        for key, data in self.small.items():
            store.put(key, data)
        for key, path in self.large.items():
            store.put_file(key, path)
        store.put(RELEASE_KEY, self.release_json)


def stage(
    document: ReleaseDocument,
    large: Mapping[str, Path],
    counts: Mapping[str, int],
    *,
    extra: Mapping[str, bytes] = NOTHING,
    kept: Mapping[str, str] = NOTHING,
    shard_size: int | None = None,
    parts: Sequence[Mapping[str, Any]] = (),
    source: Mapping[str, Any] | None = None,
) -> Staged:
    """A release's files, from its rows and what it says about itself.

    Args:
        large: manifest.parquet and participants.tsv, on this machine; what is made of them for
            the Hugging Face Hub is put beside them, where it is not there.
        counts: of the manifest, as release.json tells them.
        extra: further files, such as previews, by key.
        kept: digests of further files that lie there already and stay, by key.
        parts, shard_size: as of release.json.
        source: of a subset that was downloaded, where it comes from.
    """
    if HUB_TABLE_KEY not in large:
        table = write_hub_table(large[MANIFEST_KEY], document.columns)
        large = {**large, HUB_TABLE_KEY: table}
    digests = {key: file_sha256(path) for key, path in large.items()}
    told: dict[str, Any] = {"counts": dict(counts), "files": digests, "source": source}
    there = replace(document, suffixes=contrasts_there(large[MANIFEST_KEY], document.suffixes))
    whole = source["samples"] if source else counts["samples"]
    changed = changed_since(told, document.published)
    small = documents(
        there,
        ok=counts["ok"],
        failed=counts["failed"],
        withdrawn=counts.get("withdrawn", 0),
        extra={*extra, *kept},
        spread=spread_table(large[MANIFEST_KEY], document.columns),
        changed=changed,
        part=source is not None,
        whole=whole,
    )
    small |= extra
    described = croissant(
        there,
        ok=counts["ok"],
        samples=whole,
        manifest_sha256=digests[MANIFEST_KEY],
        manifest_bytes=large[MANIFEST_KEY].stat().st_size,
        measured_sha256=sha256(extra[MEASURED_KEY])
        if MEASURED_KEY in extra
        else kept.get(MEASURED_KEY),
        regions_sha256=sha256(extra[REGIONS_KEY])
        if REGIONS_KEY in extra
        else kept.get(REGIONS_KEY),
        moved=source is not None or changed is not None,
    )
    small[CROISSANT_KEY] = json_bytes(described)
    digests |= {key: sha256(data) for key, data in small.items()}
    about: dict[str, Any] = {
        "format": RELEASE_FORMAT,
        "version": RELEASE_VERSION,
        "schema_version": SCHEMA_VERSION,
        "counts": dict(counts),
        **document.to_json(),
        **({"source": dict(source)} if source else {}),
        "shard_size": shard_size,
        "parts": list(parts),
        "files": dict(sorted({**kept, **digests}.items())),
    }
    return Staged(small=small, large=large, about=about)


def write_release(
    store: Store,
    table: pa.Table,
    document: ReleaseDocument,
    *,
    source: Mapping[str, Any] | None = None,
    extra: Mapping[str, bytes] = NOTHING,
) -> dict[str, Any]:
    """Write everything of a release but its images and parts; release.json last.

    Args:
        table: all rows, in order of their index.
        source: of a subset that was downloaded, where it comes from.
        extra: further files, by key.
    """
    with RowFiles(table.schema, document.columns) as rows:
        rows.add(table)
        staged = stage(document, rows.close(), rows.counts, source=source, extra=extra)
        staged.write(store)
    return dict(staged.about)
