"""A local store whose holder dies at one of its writes, for tests that want to go on living."""

from __future__ import annotations

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
        self.death = death

    def _write(self, name: str, *arguments: Any, **options: Any) -> Any:
        self.death -= 1
        if self.death == 0:
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

    def delete(self, key: str) -> None:
        self._write("delete", key)
