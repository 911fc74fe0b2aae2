"""A release in an S3 bucket: conditional puts give it the promises of `Store`."""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from manifests.errors import ReleaseError
from manifests.storage.base import (
    CHUNK_BYTES,
    WRITE_CHECK_KEY,
    ChangedError,
    Chunk,
    Entry,
    Store,
    TooLargeError,
    check_key,
    content_type_of,
    is_hidden,
)
from manifests.storage.ranges import reader
from manifests.storage.s3.clients import Clients
from manifests.storage.s3.connection import (
    ATTEMPTS,
    Access,
    is_aws,
    partition_of,
    region_of,
)
from manifests.storage.s3.errors import MISSING, Bucket, code_of, explain, passes
from manifests.storage.s3.stream import BrokenStreamError
from manifests.text import one_line

LONGEST_PAUSE_SECONDS = 5.0
PART_BYTES = 64 * 2**20  # of a multipart upload; smaller files go at once
PARTS_AT_ONCE = 4
CONDITION_FAILED = {"PreconditionFailed", "412"}

T = TypeVar("T")


class S3Store(Store):
    """Objects are `s3://bucket/prefix/key`.

    Every put carries its SHA-256, which the server checks. Commit marks use If-None-Match and
    If-Match, so the server decides which of several writers is first.

    boto3 asks a few times within seconds. With patience, a server that is away, busy or broken is
    asked on for that long; its refusals end at once.
    """

    is_local = False

    def __init__(
        self,
        bucket: str,
        prefix: str,
        patience_seconds: float = 0.0,
        access: Access = Access(),  # noqa: B008 - it is frozen
    ) -> None:
        self.bucket, self.access = bucket, access
        self.patience_seconds = patience_seconds
        self.prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._clients = Clients(bucket, access, self.uri)
        self._bucket_seen = False

    def __reduce__(self) -> tuple[object, tuple[str, str, float, Access]]:
        prefix = self.prefix.rstrip("/")
        return S3Store, (self.bucket, prefix, self.patience_seconds, self.access)

    def patient(self, seconds: float) -> S3Store:
        return S3Store(self.bucket, self.prefix.rstrip("/"), seconds, self.access)

    @property
    def client(self) -> Any:
        """The boto3 client, made once; unsigned where the machine has no credentials at all."""
        with self._told("open"):
            return self._clients.own

    @property
    def where(self) -> Bucket:
        """Where its requests go, for errors."""
        return self._clients.where

    @property
    def is_aws(self) -> bool:
        """Whether AWS keeps it, and no other server that speaks as S3 does."""
        return is_aws(self.client)

    @property
    def region(self) -> str:
        """In which the bucket lies."""
        return region_of(self.client, self.bucket)

    @property
    def partition(self) -> str:
        """What the ARN of the bucket begins with."""
        return partition_of(self.client)

    @property
    def words(self) -> tuple[str, ...]:
        client = self.client
        if is_aws(client) and client.meta.partition == "aws":
            return (self.uri,)
        return self.uri, "--endpoint-url", str(client.meta.endpoint_url)

    def put(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        with self._told("write", key):
            self._ask(lambda: self._put(key, data, content_type))

    def put_file(self, key: str, path: Path) -> None:
        if path.stat().st_size > PART_BYTES:
            with self._told("write", key):
                self._ask(lambda: self._send_in_parts(key, path))
            return
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()

        def send() -> None:
            with path.open("rb") as body:
                self._send(key, body, digest)

        with self._told("write", key):
            self._ask(send)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self._conditional_put(key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, *, etag: str) -> bool:
        return self._conditional_put(key, data, IfMatch=etag)

    def get_with_etag(self, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        with self._told("read", key):
            return self._ask(lambda: self._read(key, None, most))

    def get_chunks(self, key: str, *, most: int | None = None) -> Iterator[Chunk]:
        at = 0
        with self._told("read", key), suppress(BrokenStreamError):
            place = self._key(key)
            for chunk in self._clients.streams().read(place, piece_bytes=CHUNK_BYTES, most=most):
                at += len(chunk)
                yield chunk
            return
        yield from self._chunks_from(at, key, most)

    def _chunks_from(self, at: int, key: str, most: int | None) -> Iterator[bytes]:
        """The object's bytes from number `at` on; a body that breaks off is gone on with there."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        place = {"Key": self._key(key)}
        with self._told("read", key):
            for attempt in range(ATTEMPTS):
                rest = {"Range": f"bytes={at}-"} if at else {}
                try:
                    answer = self._ask(partial(self._clients.read, "get_object", **place, **rest))
                    with closing(answer["Body"]) as body:
                        self._check_size(key, at + answer["ContentLength"], most)
                        while chunk := body.read(CHUNK_BYTES):
                            at += len(chunk)
                            yield chunk
                    return
                except (HTTPClientError, IncompleteReadError, ConnectionError):
                    if attempt == ATTEMPTS - 1:
                        raise
                    time.sleep(random.uniform(0, 0.1 * 2**attempt))
                except Exception as error:
                    if code_of(error) in {"NoSuchKey"}:
                        raise KeyError(key) from None
                    raise

    def list(self, prefix: str = "") -> Iterator[Entry]:
        with self._told("list"):
            about = {"Prefix": self.prefix + prefix}
            while True:
                page = self._ask(partial(self._clients.read, "list_objects_v2", **about))
                for item in page.get("Contents", ()):
                    key = item["Key"].removeprefix(self.prefix)
                    if key and not key.endswith("/") and not is_hidden(key):
                        modified = item["LastModified"].timestamp()
                        yield Entry(key, item["Size"], item["ETag"], modified)
                if not page.get("IsTruncated"):
                    return
                about["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str, *, etag: str | None = None) -> None:
        about = {"Bucket": self.bucket, "Key": self._key(key)}
        if etag is not None:
            about["IfMatch"] = etag
        with self._told("remove", key):
            try:
                self._ask(lambda: self.client.delete_object(**about))
            except Exception as error:
                if etag is None or code_of(error) not in CONDITION_FAILED | {"NoSuchKey", "404"}:
                    raise

    def look(self, key: str) -> Entry | None:
        try:
            head = self._head(key)
        except KeyError:
            return None
        modified = head["LastModified"].timestamp()
        return Entry(key, head["ContentLength"], head["ETag"], modified)

    def open(self, key: str) -> BinaryIO:
        head = self._head(key)

        def fetch(start: int, end: int) -> bytes:
            with self._told("read", key):
                ask = partial(self._read, key, (start, end - 1), etag=head["ETag"])
                return self._ask(ask)[0]

        return reader(fetch, head["ContentLength"])

    def _head(self, key: str) -> Any:
        with self._told("read", key):
            try:
                return self._ask(partial(self._clients.read, "head_object", Key=self._key(key)))
            except Exception as error:
                if code_of(error) not in MISSING | {"403", "400"}:
                    raise
                # The answer to a HEAD has no body: ask again, to learn what is wrong.
                self._read(key, (0, 0))
                raise

    def check_writable(self) -> None:
        with self._told("write"):
            self._need_bucket()
            self._put(WRITE_CHECK_KEY, b"", None)
            with suppress(Exception):  # a policy may allow to add and not to remove
                self.client.delete_object(Bucket=self.bucket, Key=self._key(WRITE_CHECK_KEY))

    def server(self) -> str:
        with self._told("open"):
            answer = self.client.head_bucket(Bucket=self.bucket)
        name = one_line(answer["ResponseMetadata"]["HTTPHeaders"].get("server", "no name"))[:80]
        return f"the S3 server at {self.where.endpoint} ({name})"

    def sweep(self) -> None:
        """Nothing to remove: an object that was not put whole does not exist."""

    def _key(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _need_bucket(self) -> None:
        """Some servers make a bucket at the first put into it; a misspelt one must not be made."""
        if self._bucket_seen:
            return
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except Exception as error:
            if code_of(error) in MISSING:
                raise
            # Refused: writers need not be allowed to list. The put itself will tell.
        self._bucket_seen = True

    def _put(self, key: str, data: bytes, content_type: str | None, **condition: str) -> None:
        about = {"ContentType": content_type} if content_type else {}
        self._send(key, data, hashlib.sha256(data).digest(), **about, **condition)

    def _send(self, key: str, body: bytes | BinaryIO, digest: bytes, **about: str) -> None:
        self._need_bucket()
        self.client.put_object(
            Bucket=self.bucket,
            Key=self._key(key),
            Body=body,
            ChecksumSHA256=base64.b64encode(digest).decode(),
            **{"ContentType": content_type_of(key), **about},
        )

    def _send_in_parts(self, key: str, path: Path) -> None:
        """A multipart upload, which one broken connection does not end; each part has its SHA-256,
        and the object is there only when all are."""
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.transfer import TransferConfig

        self._need_bucket()
        parts = TransferConfig(
            multipart_threshold=PART_BYTES,
            multipart_chunksize=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
        )
        about = {"ContentType": content_type_of(key), "ChecksumAlgorithm": "SHA256"}
        try:
            self.client.upload_file(
                str(path), self.bucket, self._key(key), ExtraArgs=about, Config=parts
            )
        except S3UploadFailedError as error:
            raise error.__context__ or error from None  # the client's own, which tells why

    def _conditional_put(self, key: str, data: bytes, **condition: str) -> bool:
        with self._told("write", key):
            for attempt in range(ATTEMPTS + 1):
                try:
                    # Where an answer was lost and asked for again, "there already" is our own.
                    self._ask(lambda: self._put(key, data, None, **condition))
                    return True
                except Exception as error:
                    code = code_of(error)
                    if code in CONDITION_FAILED:
                        return False
                    if code in {"NoSuchKey", "404"} and "IfMatch" in condition:
                        return False
                    # 409: another conditional put of the same key is under way.
                    if code not in {"ConditionalRequestConflict", "409"} or attempt == ATTEMPTS:
                        raise
                    time.sleep(random.uniform(0, 0.1 * 2**attempt))
        raise AssertionError("unreachable")

    def _read(
        self, key: str, span: tuple[int, int] | None, most: int | None = None, etag: str = ""
    ) -> tuple[bytes, str]:
        """The bytes at `key`, or those from span[0] to span[1], both included; and the etag.

        Raises:
            ChangedError: it does not have `etag` any more, where one is given.
        """
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        place = {"Key": self._key(key)}
        extra = {} if span is None else {"Range": f"bytes={span[0]}-{span[1]}"}
        extra |= {"IfMatch": etag} if etag else {}
        for attempt in range(ATTEMPTS):
            try:
                answer = self._clients.read("get_object", **place, **extra)
                self._check_size(key, answer["ContentLength"], most)
                return answer["Body"].read(), answer["ETag"]
            except (HTTPClientError, IncompleteReadError, ConnectionError):
                # boto3 retries a request, but not a body that breaks off.
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0, 0.1 * 2**attempt))
            except TooLargeError:
                answer["Body"].close()  # the rest is not fetched
                raise
            except Exception as error:
                if etag and code_of(error) in CONDITION_FAILED | {"NoSuchKey"}:
                    line = f"{self.uri}/{key} was changed while it was being read"
                    raise ChangedError(f"{line}; run the same command again") from None
                if code_of(error) in {"NoSuchKey"}:
                    raise KeyError(key) from None
                raise
        raise AssertionError("unreachable")

    def _ask(self, request: Callable[[], T]) -> T:
        """The request's answer; asked again, while patience lasts, of a server that is away."""
        started = time.monotonic()
        for attempt in itertools.count():
            try:
                return request()
            except Exception as error:
                pause = random.uniform(0.5, 1) * min(LONGEST_PAUSE_SECONDS, 0.5 * 2**attempt)
                if not passes(error) or time.monotonic() - started + pause > self.patience_seconds:
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    @contextmanager
    def _told(self, verb: str, key: str = "") -> Iterator[None]:
        """Errors of the client as one line that says what could not be done, and why."""
        try:
            yield
        except (KeyError, ReleaseError):
            raise
        except Exception as error:
            line = explain(error, verb=verb, bucket=self.where, key="" if is_hidden(key) else key)
            if line is None:
                raise
            raise line from error
