"""A release as it would be, or was: some of its files come from elsewhere, others from a store."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from manifests.storage.base import Chunk, Entry, Store
from manifests.storage.reading import ReadOnlyStore


class Overlay(ReadOnlyStore):
    """A store to read from, in which some keys have other contents.

    Args:
        store: what lies below; images are read from it.
        files: by key, the bytes to read instead, or the local file.
        moved: by key, the key of `store` to read instead.
    """

    def __init__(
        self,
        store: Store,
        *,
        files: Mapping[str, bytes | Path] | None = None,
        moved: Mapping[str, str] | None = None,
    ) -> None:
        self.below, self.uri, self.is_local = store, store.uri, store.is_local
        self._files, self._moved = dict(files or {}), dict(moved or {})

    def get_with_etag(self, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        if (other := self._files.get(key)) is None:
            return self.below.get_with_etag(self._moved.get(key, key), most=most)
        data = other if isinstance(other, bytes) else other.read_bytes()
        self._check_size(key, len(data), most)
        return data, ""

    def get_chunks(self, key: str, *, most: int | None = None) -> Iterator[Chunk]:
        if key in self._files:
            return super().get_chunks(key, most=most)
        return self.below.get_chunks(self._moved.get(key, key), most=most)

    def open(self, key: str) -> BinaryIO:
        other = self._files.get(key)
        if isinstance(other, bytes):
            return io.BytesIO(other)
        return other.open("rb") if other else self.below.open(self._moved.get(key, key))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return self.below.list(prefix)

    def look(self, key: str) -> Entry | None:
        if (other := self._files.get(key)) is None:
            found = self.below.look(self._moved.get(key, key))
            return found and found._replace(key=key)
        size = len(other) if isinstance(other, bytes) else other.stat().st_size
        return Entry(key, size, "", 0.0)

    @property
    def words(self) -> tuple[str, ...]:
        return self.below.words

    @property
    def refusal(self) -> str:
        return "a version that was published is only read"
