"""Stores that are only read: every write is refused, in one line, before anything is asked."""

from __future__ import annotations

from abc import abstractmethod

from manifests.errors import ReleaseError
from manifests.storage.base import Store


class ReadOnlyStore(Store):
    """What a `Store` promises to readers. All that would change it raises ReleaseError."""

    @property
    @abstractmethod
    def refusal(self) -> str:
        """Why it is not written to, and what to do."""

    def put(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        self.refuse()

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self.refuse()
        return False

    def replace(self, key: str, data: bytes, *, etag: str) -> bool:
        self.refuse()
        return False

    def delete(self, key: str, *, etag: str | None = None) -> None:
        self.refuse()

    def check_writable(self) -> None:
        self.refuse()

    def sweep(self) -> None:
        """Nothing is written here, so nothing is left half-written."""

    def refuse(self) -> None:
        """Raise ReleaseError."""
        raise ReleaseError(f"{self.uri}: {self.refusal}")
