"""Objects of a bucket in pieces, fetched by obstore at half the work a byte of boto3."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

RETRIES = 2
# The process in which obstore has its threads; whoever is forked from it would wait for them.
_process: int | None = None
FAILURES = 3  # objects in a row of which not one byte came: this server is for boto3 alone


class BrokenStreamError(Exception):
    """The rest of an object has to be asked for in another way, which tells what is wrong."""


class Streams:
    """Reads objects of one bucket; whatever does not go well is left to boto3.

    A server that obstore cannot reach at all (certificates of one's own) is not asked again.

    Args:
        session: the boto3 session, whose credentials are used and renewed.
        client: the boto3 client, whose endpoint is used.
        signed: whether there are credentials.
        region: in which the bucket lies.
        requester_pays: whether to say that whoever asks pays.
    """

    __slots__ = ("_failures", "_lock", "_store")

    def __init__(
        self,
        session: Any,
        client: Any,
        bucket: str,
        *,
        signed: bool,
        region: str,
        requester_pays: bool = False,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        endpoint: str = client.meta.endpoint_url
        signing: dict[str, Any] = {"skip_signature": True}
        if signed:
            signing = {"credential_provider": Boto3CredentialProvider(session)}
        self._store = S3Store(
            bucket,
            endpoint=endpoint,
            region=region,
            request_payer=requester_pays,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=connect_timeout_seconds),
                "read_timeout": timedelta(seconds=read_timeout_seconds),
                "timeout": timedelta(days=1),  # of a whole object, however slow the line
                "user_agent": "brainpress",
            },
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=read_timeout_seconds),
            },
            **signing,
        )
        self._failures, self._lock = 0, threading.Lock()

    def read(self, key: str, *, piece_bytes: int, most: int | None) -> Iterator[memoryview]:
        """The object at `key` of the bucket, in pieces of at least so many bytes.

        Raises:
            BrokenStreamError: it is not there, is larger than `most`, cannot be read, or breaks
                off; what was given until then is right.
        """
        import obstore

        global _process
        if self._failures >= FAILURES or _process not in (None, os.getpid()):
            raise BrokenStreamError
        _process = os.getpid()
        left: int | None = None
        try:
            found = obstore.get(self._store, key)
            if most is not None and found.meta["size"] > most:
                raise BrokenStreamError
            left = found.meta["size"]
            for piece in found.stream(min_chunk_size=piece_bytes):
                self._failures, left = 0, left - len(piece)
                yield memoryview(piece)
        except Exception as error:  # of the library, in many kinds: boto3's are told to people
            if left == 0:
                return
            with self._lock:
                self._failures += 1
            raise BrokenStreamError from error
