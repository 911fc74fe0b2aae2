"""A seekable reader of a stored object, of which only the ranges that are read are fetched."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, cast

READ_AHEAD_BYTES = 1 << 16


class Ranges(io.RawIOBase):
    """A raw reader of one object.

    Args:
        fetch: the bytes from a number on, and before another.
        size: of the object, in bytes.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch, self._size = fetch, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._size - self._at)
        if count <= 0:
            return 0
        data = self._fetch(self._at, self._at + count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def reader(fetch: Callable[[int, int], bytes], size: int) -> BinaryIO:
    """A buffered reader, as of `Ranges`."""
    return cast(BinaryIO, io.BufferedReader(Ranges(fetch, size), READ_AHEAD_BYTES))
