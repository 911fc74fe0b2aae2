"""A public release, read without credentials from a server that anyone may ask."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, TypeVar, cast

from manifests.errors import ReleaseError
from manifests.storage.base import (
    CHUNK_BYTES,
    ChangedError,
    Chunk,
    Entry,
    check_key,
    is_hidden,
)
from manifests.storage.ranges import reader
from manifests.storage.reading import ReadOnlyStore
from manifests.storage.web.address import Place, read_address
from manifests.storage.web.errors import breaks_off, explain, is_missing

ATTEMPTS = 4
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
MOST_WHOLE_BYTES = 2**32  # of a file that a server gives only whole
MEMORY_BYTES = 2**24  # of such a file; a larger one is put on the disk

T = TypeVar("T")


class WebStore(ReadOnlyStore):
    """Objects of a web server, of Google's or Azure's buckets, or of a dataset on the Hub.

    A file is one version of itself: where the server's tag of it (its ETag, else its date and
    size) changes between two requests, ChangedError is raised. Where a server knows no ranges, a
    file of which ranges are wanted is fetched whole, once.
    """

    is_local = False

    def __init__(self, place: Place, endpoint: str | None = None) -> None:
        self.place, self.uri, self._endpoint = place, place.uri, endpoint
        self._client: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, tuple[str, str | None]]:
        return open_web, (self.uri, self._endpoint)

    @property
    def refusal(self) -> str:
        return "such an address is only read; expected a folder or s3://bucket/prefix"

    @property
    def words(self) -> tuple[str, ...]:
        return (self.uri, "--endpoint-url", self._endpoint) if self._endpoint else (self.uri,)

    def server(self) -> str:
        return self.place.server

    def get_with_etag(self, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        def ask() -> tuple[bytes, str]:
            found = self._get(key)
            self._check_size(key, found.meta["size"], most)
            return bytes(found.bytes()), _tag(found)

        with self._told("read", key):
            return _again(ask)

    def get_chunks(self, key: str, *, most: int | None = None) -> Iterator[Chunk]:
        at, tag = 0, None
        with self._told("read", key):
            for attempt in range(ATTEMPTS):
                try:
                    found = self._get_from(key, at)
                    self._check_size(key, found.meta["size"], most)
                    tag = self._unchanged(key, found, tag)
                    skipped = at - found.range[0]
                    for piece in found.stream(min_chunk_size=CHUNK_BYTES):
                        chunk = memoryview(piece)[skipped:]
                        skipped -= len(piece) - len(chunk)
                        at += len(chunk)
                        if chunk:
                            yield chunk
                    return
                except Exception as error:
                    if attempt == ATTEMPTS - 1 or not breaks_off(error):
                        raise
                    _pause(attempt)

    def open(self, key: str) -> BinaryIO:
        with self._told("read", key):
            found = _again(lambda: self._first(key))
        if found is None:
            return self._whole(key)
        tag = _tag(found)

        def fetch(start: int, end: int) -> bytes:
            def ask() -> bytes:
                answer = self._get(key, range=(start, end))
                self._unchanged(key, answer, tag)
                return bytes(answer.bytes())

            with self._told("read", key):
                return _again(ask)

        return reader(fetch, found.meta["size"])

    def look(self, key: str) -> Entry | None:
        try:
            with self._told("read", key):
                found = _again(lambda: self._first(key) or self._get(key))
        except KeyError:
            return None
        return _entry(found.meta, key, _tag(found))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        if self.place.kind == "http":
            raise ReleaseError(f"{self.uri}: a web server does not list its files")
        import obstore

        # Of obstore a prefix is a folder.
        folder = prefix.rpartition("/")[0]
        try:
            with self._told("list"):
                for page in obstore.list(self._store(), prefix=folder or None):
                    for meta in page:
                        key = meta["path"]
                        if key.startswith(prefix) and not is_hidden(key):
                            yield _entry(meta, key, meta["e_tag"] or "")
        except KeyError:  # which is how Azure refuses
            raise ReleaseError(f"cannot list {self.uri}: the server lets nobody list it") from None

    def _first(self, key: str) -> Any:
        """The answer to a request for one byte, which tells size and tag; None of no ranges."""
        from obstore.exceptions import NotSupportedError

        try:
            return self._get(key, range=(0, 1))
        except NotSupportedError:
            return None
        except Exception as error:
            if "416" in str(error).split("\n")[0]:  # it has not even one
                return None
            raise

    def _get_from(self, key: str, at: int) -> Any:
        """The object from a byte on; all of it, where the server knows no ranges."""
        from obstore.exceptions import NotSupportedError

        if at == 0:
            return self._get(key)
        try:
            return self._get(key, range={"offset": at})
        except NotSupportedError:
            return self._get(key)

    def _whole(self, key: str) -> BinaryIO:
        file = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
        try:
            file.writelines(self.get_chunks(key, most=MOST_WHOLE_BYTES))
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return cast(BinaryIO, file)

    def _unchanged(self, key: str, found: Any, tag: str | None) -> str:
        """The tag of an answer, which is that of the one before, if there was one."""
        now = _tag(found)
        if tag is not None and now != tag:
            line = f"{self.uri}/{key} was changed while it was being read"
            raise ChangedError(f"{line}; run the same command again")
        return now

    def _get(self, key: str, *, range: Any = None) -> Any:
        import obstore

        options: Any = None if range is None else {"range": range}
        return obstore.get(self._store(), check_key(key), options=options)

    def _store(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _connect(self.place)
            return self._client

    @contextmanager
    def _told(self, verb: str, key: str = "") -> Iterator[None]:
        """Errors of the client as one line that says what could not be done, and why."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            if is_missing(error):
                raise KeyError(key) from None
            place = f"{self.uri}/{key}" if key and not is_hidden(key) else self.uri
            raise explain(error, verb=verb, place=place, server=self.place.server) from error


def open_web(address: str, endpoint: str | None = None) -> WebStore:
    """The store at an address of `manifests.storage.web.address`. Touches nothing yet."""
    return WebStore(read_address(address, endpoint=endpoint), endpoint)


def _connect(place: Place) -> Any:
    """obstore's client of a place, without credentials."""
    from obstore.store import AzureStore, GCSStore, HTTPStore

    common: dict[str, Any] = {
        "client_options": {
            "allow_http": place.server.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_SECONDS),
            "read_timeout": timedelta(seconds=READ_TIMEOUT_SECONDS),
            "timeout": timedelta(days=1),  # of a whole object, however slow the line
            "user_agent": "brainpress",
        },
        "retry_config": {
            "max_retries": ATTEMPTS,
            "retry_timeout": timedelta(seconds=READ_TIMEOUT_SECONDS),
        },
    }
    if place.kind == "http":
        return HTTPStore.from_url(place.server, **common)
    common |= {"prefix": place.prefix or None, "skip_signature": True}
    if place.kind == "gs":
        return GCSStore(place.bucket, base_url=place.server, **common)
    return AzureStore(place.bucket, account_name=place.account, endpoint=place.server, **common)


def _tag(found: Any) -> str:
    """By which one version of a file is told from another."""
    meta = found.meta
    return str(meta["e_tag"] or f"{meta['last_modified'].timestamp():.0f}-{meta['size']}")


def _entry(meta: Any, key: str, tag: str) -> Entry:
    return Entry(key, meta["size"], tag, meta["last_modified"].timestamp())


def _again(request: Callable[[], T]) -> T:
    """The request's answer; asked again a few times, where a body breaks off."""
    for attempt in range(ATTEMPTS):
        try:
            return request()
        except Exception as error:
            if attempt == ATTEMPTS - 1 or not breaks_off(error):
                raise
            _pause(attempt)
    raise AssertionError("unreachable")


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.1 * 2**attempt))
