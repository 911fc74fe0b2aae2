"""What a view shows: pages by their key, and answers to what a page asks."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from manifests.errors import ReleaseError
from manifests.storage.base import Store, check_key, content_type_of


class WrongAskedError(ValueError):
    """A page asked for what cannot be: told on the page in one line."""


@dataclass(frozen=True)
class Content:
    """What lies at a key: a seekable stream of `size` bytes, and its media type."""

    stream: BinaryIO
    size: int
    media: str

    @classmethod
    def of(cls, data: bytes, media: str) -> Content:
        """Of bytes that are here."""
        return cls(io.BytesIO(data), len(data), media)


class Site:
    """Pages and answers.

    Attributes:
        first: the key of the page to begin with.
    """

    first = "index.html"

    def get(self, key: str) -> Content | None:
        """What lies at `key`; None where nothing does."""
        return None

    def answer(self, key: str, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to what a page asks at `key`; None where nobody answers.

        Raises:
            WrongAskedError: what is asked cannot be.
        """
        return None


class StoredSite(Site):
    """The files of a folder or bucket, and none outside of it.

    Args:
        store: where they lie.
        first: see `Site`.
        made: by key, files that are made for this view alone.
    """

    def __init__(
        self, store: Store, *, first: str = "index.html", made: Mapping[str, bytes] | None = None
    ) -> None:
        self.first = first
        self._store, self._made = store, dict(made or {})

    def get(self, key: str) -> Content | None:
        media = content_type_of(key)
        if key in self._made:
            return Content.of(self._made[key], media)
        try:
            stream = self._store.open(check_key(key))
        except (KeyError, ReleaseError):  # none there, or a path or a link that leads out of it
            return None
        stream.seek(0, io.SEEK_END)
        size = stream.tell()
        stream.seek(0)
        return Content(stream, size, media)
