"""A store in memory with an S3 server's promises, and its bad days."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import BinaryIO

from manifests.errors import StorageError
from manifests.storage.base import Entry, Store


class MemoryStore(Store):
    """Objects in a dict. Every put is whole; what may fail is that it happens, or its answer.

    Attributes:
        trouble: chance of a fault in each call.
        rival: called before a conditional put is decided; another writer may get in between.
        faults: how often each kind of fault struck.
    """

    is_local = False

    def __init__(self, chance: random.Random, faults: Counter[str]) -> None:
        self.uri = "memory://release"
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.trouble = 0.0
        self.rival: Callable[[], None] = lambda: None
        self.faults = faults
        self._chance = chance
        self._versions = 0

    def put(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        lost = self._strike("put")
        self._write(key, data)
        if lost:
            raise StorageError("no answer", 1)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self._conditional(key, data, None)

    def replace(self, key: str, data: bytes, *, etag: str) -> bool:
        return self._conditional(key, data, etag)

    def get_with_etag(self, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        self._strike("get", answers=False)
        return self.objects[key]

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self._strike("list", answers=False)
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            data, etag = self.objects[key]
            yield Entry(key, len(data), etag, 0.0)

    def look(self, key: str) -> Entry | None:
        self._strike("look", answers=False)
        data, etag = self.objects.get(key, (None, ""))
        return None if data is None else Entry(key, len(data), etag, 0.0)

    def delete(self, key: str, *, etag: str | None = None) -> None:
        if etag is None or self._etag(key) == etag:
            self.objects.pop(key, None)

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self.get(key))

    def check_writable(self) -> None:
        """It is."""

    def sweep(self) -> None:
        """Nothing is ever half-written."""

    def _conditional(self, key: str, data: bytes, etag: str | None) -> bool:
        lost = self._strike("conditional put")
        self.rival()
        if self._etag(key) != etag:
            return False
        self._write(key, data)
        if not lost:
            return True
        if self._chance.random() < 0.5:  # the client asks again, and its own object is there
            self.faults["answer lost, asked again"] += 1
            return False
        raise StorageError("no answer", 1)

    def _etag(self, key: str) -> str | None:
        found = self.objects.get(key)
        return None if found is None else found[1]

    def _write(self, key: str, data: bytes) -> None:
        self._versions += 1
        self.objects[key] = data, str(self._versions)

    def _strike(self, what: str, *, answers: bool = True) -> bool:
        """Refuse the call, or say that its answer will be lost."""
        if not self.trouble or self._chance.random() >= self.trouble:
            return False
        if answers and self._chance.random() < 0.5:
            self.faults[f"{what} done, answer lost"] += 1
            return True
        self.faults[f"{what} refused"] += 1
        raise StorageError("503 SlowDown", 1)
