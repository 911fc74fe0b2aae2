"""A public release, read without credentials from a server that anyone may ask."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, TypeVar, cast
from urllib.parse import quote

from manifests.errors import ReleaseError
from manifests.storage.base import ChangedError, Chunk, Entry, check_key, is_hidden
from manifests.storage.ranges import reader
from manifests.storage.reading import ReadOnlyStore
from manifests.storage.web.address import Place, read_address
from manifests.storage.web.errors import MISSING, no_answer, refusal
from manifests.storage.web.http import Answer, Client
from manifests.storage.web.listing import MOST_PAGE_BYTES, page_url, read_page

ATTEMPTS = 4  # at a body that breaks off
MOST_WHOLE_BYTES = 2**32  # of a file that a server gives only whole
MEMORY_BYTES = 2**24  # of such a file; a larger one is put on the disk
AZURE_VERSION = "2021-08-06"  # of its interface; without one it takes the oldest
FULL, NO_SUCH_PART = 200, 416

T = TypeVar("T")


class WebStore(ReadOnlyStore):
    """Objects of a web server, of Google's or Azure's buckets, or of a dataset on the Hub.

    A file is one version of itself: where the server's tag of it changes between two requests,
    ChangedError is raised. Where a server knows no ranges, a file of which ranges are wanted is
    fetched whole, once.
    """

    is_local = False

    def __init__(self, place: Place, endpoint: str | None = None) -> None:
        self.place, self.uri, self._endpoint = place, place.uri, endpoint
        self._client = Client(place.server)

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
            with self._get(key) as answer:
                return b"".join(self._body(key, answer, most)), answer.tag

        with self._told("read", key):
            return _again(ask)

    def get_chunks(self, key: str, *, most: int | None = None) -> Iterator[Chunk]:
        at, tag = 0, None
        with self._told("read", key):
            for attempt in range(ATTEMPTS):
                try:
                    with self._get(key, f"bytes={at}-" if at else None) as answer:
                        tag = self._unchanged(key, answer, tag)
                        skipped = at - answer.start
                        for piece in self._body(key, answer, most):
                            chunk = memoryview(piece)[skipped:]
                            skipped -= len(piece) - len(chunk)
                            if chunk:
                                at += len(chunk)
                                yield chunk
                    return
                except _broken():
                    if attempt == ATTEMPTS - 1:
                        raise
                    _pause(attempt)

    def open(self, key: str) -> BinaryIO:
        with self._told("read", key), self._first(key) as answer:
            if not answer.is_part:
                return self._whole(key, answer)
            tag, size = answer.tag, answer.size or 0

        def fetch(start: int, end: int) -> bytes:
            def ask() -> bytes:
                with self._get(key, f"bytes={start}-{end - 1}") as answer:
                    self._unchanged(key, answer, tag)
                    return b"".join(answer.body())[start - answer.start : end - answer.start]

            with self._told("read", key):
                return _again(ask)

        return reader(fetch, size)

    def look(self, key: str) -> Entry | None:
        try:
            with self._told("read", key), self._first(key) as answer:
                return Entry(key, answer.size or 0, answer.tag, answer.modified)
        except KeyError:
            return None

    def list(self, prefix: str = "") -> Iterator[Entry]:
        if self.place.kind == "http":
            raise ReleaseError(f"{self.uri}: a web server does not list its files")
        folder = f"{self.place.prefix}/" if self.place.prefix else ""
        after = ""
        while True:
            with self._told("list"):
                page = _again(lambda after=after: self._page(folder + prefix, after))  # type: ignore[misc]
                entries, after = read_page(self.place, page)
            for entry in entries:
                key = entry.key.removeprefix(folder)
                if key and not key.endswith("/") and not is_hidden(key):
                    yield entry._replace(key=key)
            if not after:
                return

    def _page(self, prefix: str, after: str) -> bytes:
        url = page_url(self.place, prefix, after)
        answer = self._client.get(url, headers=self._headers())
        with closing(answer):
            if answer.status in MISSING:  # which is how Azure refuses, too
                raise ReleaseError(f"cannot list {self.uri}: the server lets nobody list it")
            if answer.status != FULL:
                raise refusal(answer.status, verb="list", place=self.uri, server=self.server())
            return b"".join(self._body("", answer, MOST_PAGE_BYTES))

    @contextmanager
    def _first(self, key: str) -> Iterator[Answer]:
        """The answer to a request for one byte, which tells of all; whole, of no ranges."""
        with self._get(key, "bytes=0-0") as answer:
            if answer.status != NO_SUCH_PART:
                yield answer
                return
        with self._get(key) as answer:  # it has not even one
            yield answer

    @contextmanager
    def _get(self, key: str, wanted: str | None = None) -> Iterator[Answer]:
        """The answer to a request of an object, or of a range. Raises KeyError where it is not."""
        headers = self._headers() | ({"Range": wanted} if wanted else {})
        answer = self._client.get(self._url(check_key(key)), headers=headers)
        with closing(answer):
            if answer.status in MISSING:
                raise KeyError(key)
            good = answer.status == FULL or answer.is_part
            if not good and not (wanted and answer.status == NO_SUCH_PART):
                place = self.uri if is_hidden(key) else f"{self.uri}/{key}"
                raise refusal(answer.status, verb="read", place=place, server=self.server())
            yield answer

    def _body(self, key: str, answer: Answer, most: int | None) -> Iterator[bytes]:
        """The body of an answer, which has at most so many bytes, whatever the server told."""
        if answer.size is not None:
            self._check_size(key, answer.size, most)
        taken = 0
        for piece in answer.body():
            taken += len(piece)
            self._check_size(key, taken, most)
            yield piece

    def _whole(self, key: str, answer: Answer) -> BinaryIO:
        """A file of a server without ranges: what it answered, if it is all there."""
        file = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
        try:
            file.writelines(self._body(key, answer, MOST_WHOLE_BYTES))
        except _broken():
            file.seek(0)
            file.truncate()
            file.writelines(self.get_chunks(key, most=MOST_WHOLE_BYTES))
        file.seek(0)
        return cast(BinaryIO, file)

    def _unchanged(self, key: str, answer: Answer, tag: str | None) -> str:
        """The tag of an answer, which is that of the one before, if there was one."""
        if tag is not None and answer.tag != tag:
            line = f"{self.uri}/{key} was changed while it was being read"
            raise ChangedError(f"{line}; run the same command again")
        return answer.tag

    def _url(self, key: str) -> str:
        place = self.place
        if place.kind == "http":
            return f"{place.server}/{quote(key)}"
        name = f"{place.prefix}/{key}" if place.prefix else key
        return f"{place.server}/{place.bucket}/{quote(name)}"

    def _headers(self) -> dict[str, str]:
        return {"x-ms-version": AZURE_VERSION} if self.place.kind == "az" else {}

    @contextmanager
    def _told(self, verb: str, key: str = "") -> Iterator[None]:
        """Errors of the client as one line that says what could not be done, and why."""
        from urllib3.exceptions import HTTPError

        try:
            yield
        except HTTPError as error:
            place = f"{self.uri}/{key}" if key and not is_hidden(key) else self.uri
            raise no_answer(error, verb=verb, place=place, server=self.server()) from error


def open_web(address: str, endpoint: str | None = None) -> WebStore:
    """The store at an address of `manifests.storage.web.address`. Touches nothing yet."""
    return WebStore(read_address(address, endpoint=endpoint), endpoint)


def _broken() -> tuple[type[Exception], ...]:
    """What is raised where a body breaks off."""
    from urllib3.exceptions import ProtocolError, ReadTimeoutError

    return ProtocolError, ReadTimeoutError


def _again(request: Callable[[], T]) -> T:
    """The request's answer; asked again a few times, where a body breaks off."""
    for attempt in range(ATTEMPTS):
        try:
            return request()
        except _broken():
            if attempt == ATTEMPTS - 1:
                raise
            _pause(attempt)
    raise AssertionError("unreachable")


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.1 * 2**attempt))
