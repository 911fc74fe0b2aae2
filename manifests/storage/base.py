"""What every store of a release promises, and which keys it takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple

from manifests.errors import ReleaseError
from manifests.text import is_plain

Chunk = bytes | memoryview
CHUNK_BYTES = 1 << 18  # of an object that is read in pieces: fits a core's cache
CONTENT_TYPES = {
    ".nii.gz": "application/gzip",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".tsv": "text/tab-separated-values; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".cff": "application/yaml",
}
WRITE_CHECK_KEY = ".brainpress-write-check"
PROBE_KEY = ".brainpress-conditional-write-check"
LEASE_KEY = ".brainpress-lease.json"  # who changes the release, as of `manifests.changes`
LONGEST_KEY = 1024  # bytes, of S3


def is_hidden(key: str) -> bool:
    """Whether what lies at `key` is of no release, and in no listing."""
    return key in (WRITE_CHECK_KEY, LEASE_KEY) or key.startswith(PROBE_KEY)


class TooLargeError(ReleaseError):
    """An object that is larger than its reader takes."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=1)


class ChangedError(ReleaseError):
    """What was being read was changed meanwhile: read again, it is whole."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=1)


class Entry(NamedTuple):
    """One stored object. `etag` changes whenever the object's bytes are written anew.

    `modified` is when they were, in seconds since 1970, by the storage's own clock.
    """

    key: str
    size: int
    etag: str
    modified: float


class Store(ABC):
    """The objects of one release, by key relative to the release's own folder or prefix.

    A store is pickled and copied as its location: a worker that receives one opens its own
    connection with its own credentials. All methods are safe to call from several threads and
    processes at once.

    Every method raises ReleaseError, in one clear line, where the storage refuses or is away.
    """

    uri: str
    is_local: bool

    @abstractmethod
    def put(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        """Write `data` at `key`, whole or not at all, over whatever is there."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` at `key` unless something is there already; whether it was written.

        Of any number of concurrent callers exactly one gets True.
        """

    @abstractmethod
    def replace(self, key: str, data: bytes, *, etag: str) -> bool:
        """Write `data` at `key` if what is there still has `etag` (compare and swap)."""

    @abstractmethod
    def get_with_etag(self, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        """The bytes at `key` and their etag. Raises KeyError where there are none.

        Where there are more than `most`, none is read, and ReleaseError (exit code 1) is raised.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The objects whose key begins with `prefix`, in order of their keys."""

    @abstractmethod
    def look(self, key: str) -> Entry | None:
        """What a listing would tell of `key`, also of one that none shows; None where none is."""

    @abstractmethod
    def delete(self, key: str, *, etag: str | None = None) -> None:
        """Remove `key`; nothing happens where it is not there.

        Args:
            etag: remove it only if it still has this one. A server that does not know conditional
                removals may remove it all the same.
        """

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """A seekable reader that fetches only the ranges read, all of the object as it is now.

        Raises:
            KeyError: there is none.
            ChangedError: by a read, where the object was replaced since.
        """

    @abstractmethod
    def check_writable(self) -> None:
        """Write and remove a small probe, so that a job knows before it starts."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what writers that died left half-written."""

    def put_file(self, key: str, path: Path) -> None:
        """Write the bytes of a local file at `key`, as `put` does, and hold few of them at once."""
        self.put(key, path.read_bytes())

    def get_chunks(self, key: str, *, most: int | None = None) -> Iterator[Chunk]:
        """The bytes at `key` in pieces, fetched as they are asked for. Errors as of `get`."""
        yield self.get(key, most=most)

    def put_chunks(self, key: str, chunks: Iterable[Chunk], *, durable: bool = True) -> None:
        """Write an object that comes in pieces, as `put` does; few of them are in memory at once.

        An error of `chunks` leaves nothing behind. What is not `durable` may be lost, or be half
        there, after a power cut; of a process that dies it is not.
        """
        with TemporaryDirectory(prefix="brainpress-") as folder:
            path = Path(folder, "object")
            with path.open("wb") as file:
                file.writelines(chunks)
            self.put_file(key, path)

    def server(self) -> str:
        """Who keeps the objects, as errors name it."""
        return self.uri

    @property
    def words(self) -> tuple[str, ...]:
        """What a command on another machine has to be told to find it: the address, options."""
        return (self.uri,)

    def patient(self, seconds: float) -> Store:
        """This store, but each call waits so long for a storage that is away, where it can be."""
        return self

    def get(self, key: str, *, most: int | None = None) -> bytes:
        """The bytes at `key`, at most so many. Raises KeyError where there are none."""
        return self.get_with_etag(key, most=most)[0]

    def _check_size(self, key: str, size: int, most: int | None) -> None:
        if most is not None and size > most:
            raise TooLargeError(f"{self.uri}/{key} has {size:,} bytes, expected at most {most:,}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"


def content_type_of(key: str) -> str:
    """The media type that a browser should be told, by the key's suffix."""
    for suffix, content_type in CONTENT_TYPES.items():
        if key.endswith(suffix):
            return content_type
    return "text/plain; charset=utf-8" if "." not in key else "application/octet-stream"


def check_key(key: str) -> str:
    """`key`, if it stays inside the release; keys also come from manifests of strangers.

    Refused too is what is a path on one system and none on another: backslashes, drives, control
    characters, parts that end in a dot or a space (which Windows drops).
    """
    parts = PurePosixPath(key).parts
    strange = any(character in key for character in '\\:*?"<>|') or not is_plain(key)
    if (
        not key
        or strange
        or key.startswith("/")
        or len(key) > LONGEST_KEY
        or any(part == ".." or part[-1] in ". " for part in parts)
    ):
        raise ReleaseError(
            f"{key[:200]!r} is no key of a release: expected a relative path without '..'"
        )
    return key
