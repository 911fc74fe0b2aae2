"""A local store whose holder dies at one of its writes, for tests that want to go on living."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manifests.storage.local import LocalStore


class Died(BaseException):
    """Death, where a test wants to go on living."""


class DyingStore(LocalStore):
    """Its holder dies before write number `death`; removals count too."""

    def __init__(self, folder: Path, *, death: int = 0) -> None:
        super().__init__(folder)
        self.death, self.dead = death, False
        self._counting = threading.Lock()

    def _write(self, name: str, *arguments: Any, **options: Any) -> Any:
        with self._counting:
            self.death -= 1
            self.dead = self.dead or self.death == 0
        if self.dead:  # the dead write nothing, whatever their `finally` says
            raise Died
        return getattr(LocalStore, name)(self, *arguments, **options)

    def put(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        self._write("put", key, data)

    def put_file(self, key: str, path: Path) -> None:
        self._write("put_file", key, path)

    def put_chunks(self, key: str, chunks: Iterable[Any], *, durable: bool = True) -> None:
        self._write("put_chunks", key, chunks, durable=durable)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return bool(self._write("put_if_absent", key, data))

    def replace(self, key: str, data: bytes, *, etag: str) -> bool:
        return bool(self._write("replace", key, data, etag=etag))

    def delete(self, key: str, *, etag: str | None = None) -> None:
        self._write("delete", key, etag=etag)
