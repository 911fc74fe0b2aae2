"""The connections to one bucket: with the user's credentials, and without, for what is public."""

from __future__ import annotations

import logging
import threading
from typing import Any

from manifests.storage.s3.connection import Access, Connection, connect
from manifests.storage.s3.errors import WRONG_CREDENTIALS, Bucket, code_of, is_refused, passes
from manifests.storage.s3.stream import Streams
from manifests.text import one_line, without_credentials


class Clients:
    """Connections, each made once, when it is first needed. Errors are those of boto3.

    Where the user's credentials are refused and a stranger is not, the bucket is read as a stranger
    reads it from then on, and a line says so. Writing is always done with the credentials.

    Args:
        uri: of the release, for that line.
    """

    def __init__(self, bucket: str, access: Access, uri: str) -> None:
        self.bucket, self.access, self._uri = bucket, access, uri
        self.known: Any = None  # the boto3 client of `own`, where it was made
        self._own: Connection | None = None
        self._stranger: Connection | None = None
        self._reads_as_stranger = False
        self._stream: Streams | None = None
        self._lock = threading.RLock()

    @property
    def own(self) -> Any:
        """The boto3 client; unsigned where the machine has no credentials at all."""
        with self._lock:
            if self.known is None:
                self._own = connect(self.bucket, self.access)
                self.known = self._own.client
            return self.known

    @property
    def signed(self) -> bool:
        """Whether requests carry credentials."""
        return self._own.signed if self._own is not None else not self.access.anonymous

    @property
    def where(self) -> Bucket:
        """Where requests go, for errors."""
        endpoint = "the S3 endpoint" if self.known is None else str(self.known.meta.endpoint_url)
        return Bucket(
            uri=self._uri,
            name=self.bucket,
            endpoint=endpoint,
            signed=self.signed,
            anonymous=self.access.anonymous,
        )

    def read(self, operation: str, **about: Any) -> Any:
        """The answer to a request that reads, such as get_object."""

        def ask(client: Any) -> Any:
            return getattr(client, operation)(Bucket=self.bucket, **about)

        if self._reads_as_stranger:
            return ask(self._strangers().client)
        try:
            return ask(self.own)
        except Exception as error:
            if not self.signed or not is_refused(error):
                raise
            try:
                answer = ask(self._strangers().client)
            except Exception as as_stranger:
                if is_refused(as_stranger) or passes(as_stranger):
                    raise error from None
                self._become_stranger(error)
                raise
            self._become_stranger(error)
            return answer

    def streams(self) -> Streams:
        """By which whole objects are read."""
        with self._lock:
            if self._stream is None:
                if not self._reads_as_stranger:
                    _ = self.own
                connection = self._strangers() if self._reads_as_stranger else self._own
                assert connection is not None
                self._stream = connection.make_streams()
            return self._stream

    def _strangers(self) -> Connection:
        with self._lock:
            if self._stranger is None:
                self._stranger = connect(self.bucket, self.access, signed=False)
            return self._stranger

    def _become_stranger(self, error: Exception) -> None:
        with self._lock:
            if self._reads_as_stranger:
                return
            self._reads_as_stranger, self._stream = True, None
        why = WRONG_CREDENTIALS.get(code_of(error), "they are not allowed to read it")
        if not code_of(error):
            why = one_line(error)
        line = (
            f"{self._uri} is public, and read without credentials; those found are no good: {why}"
        )
        logging.getLogger(__name__).warning("%s", without_credentials(line))
