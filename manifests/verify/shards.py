"""Checking a set of tar shards: every byte is read again, each image held against its digest."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import MOST_IMAGE_BYTES
from manifests.format.parquet import table_from_bytes
from manifests.storage.base import Chunk, Store
from manifests.storage.threads import OnProgress
from manifests.verify.documents import listed_files, read_or_why
from manifests.verify.findings import Report
from manifests.volumes.shard_index import (
    INDEX_KEY,
    INDEX_SCHEMA,
    PLAN_KEY,
    TABLE_KEY,
    digest_key,
    digest_line,
)


def verify_shards(
    store: Store, index: Mapping[str, Any], *, on_progress: OnProgress | None = None
) -> Report:
    """Read every object of a set of shards again; findings are in a fixed order.

    Held against index.json are the digests of shards and documents; against index.parquet, in each
    shard, which images it has, where, and the digest of each.

    Args:
        index: the content of its index.json, as of `shard_index.read_index`.

    Raises:
        ReleaseError: the storage cannot be read.
    """
    report = Report(uri=store.uri, samples=sum(shard["samples"] for shard in index["shards"]))
    table = _documents(store, index, report)
    for shard in index["shards"]:
        rows = None if table is None else _rows(table, shard["url"])
        if rows is not None and len(rows) != shard["samples"]:
            text = f"{TABLE_KEY} has {len(rows)} of its {shard['samples']} images"
            report.error("shard-images", shard["url"], text)
        _shard(store, shard, rows, report)
        if on_progress:
            on_progress(report.images, report.samples, report.image_bytes)
    _unlisted(store, index, report)
    return report


def _documents(store: Store, index: Mapping[str, Any], report: Report) -> pa.Table | None:
    """The files beside the shards; the table of the images, where it is sound."""
    for shard in index["shards"]:
        key = digest_key(shard["url"])
        data = read_or_why(store, key, tarfile.BLOCKSIZE)
        if data is None:
            report.error("file-missing", key, f"{INDEX_KEY} names its shard, and it is not there")
        elif data != digest_line(shard["url"], shard["sha256"]):
            report.error("file-changed", key, f"it does not say what {INDEX_KEY} says")
    table = None
    for key, digest in index["files"].items():
        data = read_or_why(store, key)
        if data is None:
            report.error("file-missing", key, f"{INDEX_KEY} names it, and it is not there")
        elif isinstance(data, str):
            report.error("file-refused", key, data)
        elif sha256(data) != digest:
            text = f"its SHA-256 is not {digest}, as {INDEX_KEY} says"
            report.error("file-changed", key, text)
        elif key == TABLE_KEY:
            table = _table(data, report)
    if TABLE_KEY not in index["files"]:
        report.error("file-unnamed", TABLE_KEY, f"{INDEX_KEY} gives no SHA-256 of it")
    return table


def _table(data: bytes, report: Report) -> pa.Table | None:
    try:
        table = table_from_bytes(data, TABLE_KEY)
    except ReleaseError as error:
        report.error("shards-damaged", TABLE_KEY, str(error))
        return None
    if not table.schema.equals(INDEX_SCHEMA):
        report.error("shards-damaged", TABLE_KEY, "its columns are not those of this version")
        return None
    return table


def _rows(table: pa.Table, shard: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.filter(pc.equal(table["shard"], shard)).to_pylist()
    return sorted(found, key=lambda row: row["offset"])


def _shard(
    store: Store,
    shard: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]] | None,
    report: Report,
) -> None:
    """One shard: its digest, and its images one by one, where it is known which they are."""
    key = shard["url"]
    try:
        stream = _Hashed(store.get_chunks(key, most=shard["bytes"]))
        try:
            wrong = None if rows is None else _images(stream, rows, report)
        except ReleaseError:
            raise
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
            wrong = f"it is no whole tar archive ({error})"
        stream.drain()
    except KeyError:
        report.error("shard-missing", key, f"{INDEX_KEY} names it, and it is not there")
        return
    except ReleaseError as error:
        report.error("shard-changed", key, str(error))
        return
    if stream.size != shard["bytes"]:
        text = f"it has {stream.size:,} bytes, {INDEX_KEY} says {shard['bytes']:,}"
        report.error("shard-changed", key, text)
    elif stream.digest != shard["sha256"]:
        text = f"its SHA-256 is not {shard['sha256']}, as {INDEX_KEY} says"
        report.error("shard-changed", key, text)
    elif wrong:
        report.error("shard-images", key, wrong)


def _images(stream: _Hashed, rows: Sequence[Mapping[str, Any]], report: Report) -> str | None:
    """Why the images of a shard are not those that the table names; None where they are."""
    expected = iter(rows)
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if not member.name.endswith(".nii.gz"):
                continue
            row = next(expected, None)
            name = member.name.removesuffix(".nii.gz")
            if row is None or (row["key"], row["offset"]) != (name, member.offset_data):
                return f"{TABLE_KEY} does not tell of {ascii(member.name)[:80]} at that place"
            if member.type != tarfile.REGTYPE:  # a link, or a sparse file
                return f"{ascii(member.name)[:80]} is no plain file"
            content = archive.extractfile(member)
            if content is None or not 0 < member.size <= MOST_IMAGE_BYTES:
                return f"{ascii(member.name)[:80]} has {member.size:,} bytes"
            if sha256(content.read()) != row["sha256"]:
                return f"the SHA-256 of {name} is not {row['sha256']}, as {TABLE_KEY} says"
            report.images += 1
            report.image_bytes += member.size
    left = next(expected, None)
    return f"{left['key']} is not in it" if left is not None else None


def _unlisted(store: Store, index: Mapping[str, Any], report: Report) -> None:
    there = listed_files(store, report) or {}
    for key in sorted(there.keys() - set(keys_of(index))):
        report.warning("file-unlisted", key, "it is not of these shards")


def keys_of(index: Mapping[str, Any]) -> list[str]:
    """The keys of a set of shards, index.json among them."""
    shards = [shard["url"] for shard in index["shards"]]
    return [INDEX_KEY, PLAN_KEY, *index["files"], *shards, *map(digest_key, shards)]


class _Hashed(io.RawIOBase):
    """A stream to read once, whose digest is taken on the way."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks, self._hash = chunks, hashlib.sha256()
        self._rest = memoryview(b"")
        self.size = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes: fewer than there are left where a piece ends."""
        while not len(self._rest):
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._hash.update(chunk)
            self.size += len(chunk)
            self._rest = memoryview(chunk)
        taken = self._rest[: size if size >= 0 else None]
        self._rest = self._rest[len(taken) :]
        return bytes(taken)

    def drain(self) -> None:
        """Read what is left."""
        while self.read(2**20):
            pass
