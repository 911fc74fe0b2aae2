"""Objects of a real S3 server in pieces: whole whatever breaks, and told by boto3 what is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import boto3
import pytest

from manifests.errors import ReleaseError
from manifests.storage import open_store
from manifests.storage.s3.store import S3Store
from manifests.storage.s3.stream import FAILURES, BrokenStreamError, Streams
from tests.faults.proxy import FaultyProxy
from tests.servers import S3Server

DATA = {f"objects/{i}": bytes([i]) * (300_000 * i + 1) for i in range(8)}


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(s3.endpoint, seed=5)
    yield proxy
    proxy.stop()


def filled(bucket: str) -> S3Store:
    store = open_store(f"s3://{bucket}/release")
    for key, data in DATA.items():
        store.put(key, data)
    assert isinstance(store, S3Store)
    return store


def streams(endpoint: str, bucket: str, *, signed: bool = True) -> Streams:
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url=endpoint))
    seconds = {"connect_timeout_seconds": 5, "read_timeout_seconds": 5}
    session = boto3.session.Session()
    return Streams(session, client, bucket, signed=signed, region="us-east-1", **seconds)


def test_a_stream_alone_gives_every_object_in_pieces(s3: S3Server, bucket: str) -> None:
    filled(bucket)
    reader = streams(s3.endpoint, bucket)
    for key, data in DATA.items():
        pieces = list(reader.read(f"release/{key}", piece_bytes=100_000, most=len(data)))
        assert b"".join(pieces) == data
        assert all(len(piece) >= 100_000 for piece in pieces[:-1])


def test_a_public_bucket_is_read_without_credentials(s3: S3Server) -> None:
    bucket = s3.make_bucket(public=True)
    filled(bucket)
    reader = streams(s3.endpoint, bucket, signed=False)
    assert b"".join(reader.read("release/objects/3", piece_bytes=1, most=None)) == DATA["objects/3"]


def test_what_breaks_off_is_gone_on_with(
    bucket: str, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    store = open_store(f"s3://{bucket}/release").patient(30)
    proxy.rate, proxy.kinds = 0.5, ("download cut short",)
    for key, data in DATA.items():
        assert b"".join(store.get_chunks(key)) == data
    assert proxy.faults["download cut short"] > 1


@pytest.mark.parametrize("key", ["missing", "objects/3"])
def test_what_cannot_be_read_is_told_as_ever(bucket: str, key: str) -> None:
    store = filled(bucket)
    if key == "missing":
        with pytest.raises(KeyError):
            list(store.get_chunks(key))
    else:
        with pytest.raises(ReleaseError, match=r"has 900,001 bytes, expected at most 10"):
            list(store.get_chunks(key, most=10))


def test_a_server_that_is_out_of_reach_for_streams_is_left_to_boto3(bucket: str) -> None:
    store = filled(bucket)
    proxy = FaultyProxy("http://127.0.0.1:9")
    store._clients._stream = streams(proxy.url, bucket)
    for key, data in DATA.items():
        assert b"".join(store.get_chunks(key)) == data
    asked = proxy.requests
    assert asked >= FAILURES
    with pytest.raises(BrokenStreamError):
        next(store._clients._stream.read("release/objects/3", piece_bytes=1, most=None))
    assert proxy.requests == asked
    proxy.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_process_that_was_forked_reads_in_pieces_too(bucket: str) -> None:
    store = filled(bucket)
    assert b"".join(store.get_chunks("objects/3")) == DATA["objects/3"]
    child = os.fork()
    if child == 0:  # where the threads of obstore are not
        there = open_store(store.uri)
        os._exit(0 if b"".join(there.get_chunks("objects/3")) == DATA["objects/3"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
