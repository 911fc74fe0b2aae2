"""A store with patience, on a real S3 server that breaks requests, or is away for a while."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from manifests.errors import ReleaseError, StorageError
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from manifests.storage.s3.errors import passes
from tests.faults.proxy import KINDS, FaultyProxy
from tests.ports import free_ports
from tests.servers import S3Server


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(s3.endpoint, seed=1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.stop()


def test_with_patience_every_object_arrives_whole_however_often_requests_break(
    bucket: str, proxy: FaultyProxy
) -> None:
    store = open_store(f"s3://{bucket}/release").patient(60)
    store.check_writable()
    proxy.rate = 0.4
    data = {f"folder/object-{i}": b"%d" % i * 10_000 for i in range(24)}
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(store.put, data.keys(), data.values()))
        assert list(pool.map(store.get, data)) == list(data.values())
        # Of a lost answer nobody can tell who wrote; what is there is there once and whole.
        list(pool.map(store.put_if_absent, [f"mark-{i}" for i in range(10)], [b"x"] * 10))
    keys = {entry.key for entry in store.list()}
    assert keys == {*data, *(f"mark-{i}" for i in range(10))}
    assert set(proxy.faults) == set(KINDS), "a way of breaking was not tried"


def test_a_server_that_comes_back_within_patience_is_waited_for(
    bucket: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    [port] = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    store = open_store(f"s3://{bucket}/release").patient(60)
    begun: list[FaultyProxy] = []
    timer = threading.Timer(3.0, lambda: begun.append(FaultyProxy(s3.endpoint, port=port)))
    timer.start()
    started = time.monotonic()
    try:
        store.put("key", b"value")
        assert time.monotonic() - started > 2.5
        assert open_store(f"s3://{bucket}/release").get("key") == b"value"
    finally:
        timer.join()
        begun[0].stop()


def test_patience_travels_with_the_store() -> None:
    store = open_store("s3://bucket/release").patient(42)
    assert pickle.loads(pickle.dumps(store)).patience_seconds == 42
    assert open_store("s3://bucket/release").patience_seconds == 0


def answered(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answered("InternalError", 500), True),
        (answered("SlowDown", 503), True),
        (answered("RequestTimeout", 400), True),
        (answered("BadDigest", 400), True),
        (answered("TooManyRequests", 429), True),
        (EndpointConnectionError(endpoint_url="http://x"), True),
        (ConnectTimeoutError(endpoint_url="http://x"), True),
        (ReadTimeoutError(endpoint_url="http://x"), True),
        (answered("AccessDenied", 403), False),
        (answered("NoSuchBucket", 404), False),
        (answered("NotImplemented", 501), False),
        (answered("PreconditionFailed", 412), False),
        (ValueError("ours"), False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_only_what_may_pass_is_waited_for(error: Exception, expected: bool) -> None:
    assert passes(error) is expected


def test_a_full_disk_is_the_storages_fault_and_a_wrong_key_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(ReleaseError) as caught:
        store.put("../outside", b"")
    assert not isinstance(caught.value, StorageError)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(StorageError, match="No space left on device"), store._told("write", "key"):
        full.write_bytes(b"x")
