"""Requests of public web servers: what is asked, and what the answers tell of the files.

urllib3, not obstore: a process that was forked, as a DataLoader's workers are, waits for ever for
the threads of the latter.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from manifests.errors import ReleaseError
from manifests.storage.base import CHUNK_BYTES

RETRIES, REDIRECTS = 4, 10
BACKOFF_SECONDS = 0.2  # doubled with each
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
CONNECTIONS = 32
BUSY = (429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Answer:
    """An answer, of which the body is still to come."""

    response: Any

    @property
    def status(self) -> int:
        return int(self.response.status)

    @property
    def is_part(self) -> bool:
        """Whether it is the range that was asked for, and says which."""
        return self._range is not None

    @property
    def start(self) -> int:
        """The number of the body's first byte: 0, where the server did not heed the range."""
        found = self._range
        return int(found[1]) if found else 0

    @property
    def size(self) -> int | None:
        """Of the whole file, in bytes; None where the server does not tell."""
        if found := self._range:
            return int(found[3])
        length = self.response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None

    @property
    def modified(self) -> float:
        """When the file was, in seconds since 1970; 0.0 where the server does not tell."""
        try:
            return parsedate_to_datetime(self.response.headers["Last-Modified"]).timestamp()
        except (KeyError, ValueError, TypeError):
            return 0.0

    @property
    def tag(self) -> str:
        """By which one version of the file is told from another: its ETag, else date and size."""
        return self.response.headers.get("ETag") or f"{self.modified:.0f}-{self.size}"

    def body(self) -> Iterator[bytes]:
        """In pieces, as the file is stored; Apache says of packed files that it packed them."""
        yield from self.response.stream(CHUNK_BYTES, decode_content=False)
        self.response.release_conn()

    def close(self) -> None:
        """Leave the body where it is."""
        self.response.close()
        self.response.release_conn()

    @property
    def _range(self) -> re.Match[str] | None:
        told = self.response.headers.get("Content-Range", "")
        return _RANGE.fullmatch(told) if self.status == 206 else None


class Client:
    """The connections of one process to a server; whoever is forked makes its own."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._pool: Any = None
        self._process = 0
        self._lock = threading.Lock()

    def get(self, url: str, *, headers: Mapping[str, str]) -> Answer:
        """The answer to a GET, redirects followed; a few times asked of a server that is busy.

        Raises:
            urllib3.exceptions.HTTPError: no answer.
            ReleaseError: it sends on from an encrypted address to one that is not.
        """
        asked = {"User-Agent": "brainpress", "Accept-Encoding": "identity", **headers}
        answer = self._patiently(url, asked)
        if url.startswith("https://") and str(answer.response.geturl() or "").startswith("http://"):
            answer.close()
            raise ReleaseError(
                f"{self._server} sends on to an address without encryption; expected https://"
            )
        return answer

    def _patiently(self, url: str, headers: Mapping[str, str]) -> Answer:
        from urllib3.exceptions import HTTPError

        for attempt in range(RETRIES):
            try:
                answer = Answer(
                    self._connections().request("GET", url, headers=headers, preload_content=False)
                )
            except HTTPError as error:
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    raise
            else:
                if answer.status not in BUSY:
                    return answer
                answer.close()
            time.sleep(random.uniform(0.5, 1) * BACKOFF_SECONDS * 2**attempt)
        return Answer(
            self._connections().request("GET", url, headers=headers, preload_content=False)
        )

    def _connections(self) -> Any:
        with self._lock:
            if self._process != os.getpid():
                self._pool, self._process = _pool(self._server), os.getpid()
            return self._pool


def _pool(server: str) -> Any:
    """Connections, through the proxy that the environment names, as other programs take it."""
    import urllib3

    # `Client` asks again: urllib3 would log each time, and heed a server that says "in an hour".
    retries = urllib3.Retry(
        REDIRECTS, connect=0, read=0, status=0, other=0, respect_retry_after_header=False
    )
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)
    about: dict[str, Any] = {"retries": retries, "timeout": timeout, "maxsize": CONNECTIONS}
    parts = urlsplit(server)
    proxy = getproxies().get(parts.scheme)
    if proxy is None or proxy_bypass(parts.hostname or ""):
        return urllib3.PoolManager(**about)
    login = urlsplit(proxy)
    if login.username:
        named = f"{login.username}:{login.password or ''}"
        about["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=named)
    return urllib3.ProxyManager(proxy, **about)
