"""The promises of `Store`, kept alike by a folder and by a real S3 server."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from manifests.errors import ReleaseError
from manifests.storage import open_store
from manifests.storage.base import Store
from manifests.storage.local import SIDE_FOLDER, LocalStore
from tests.servers import S3Server

WRITERS, ROUNDS = 8, 10


def test_what_is_put_is_read_back_and_listed_in_order(place: str) -> None:
    store = open_store(place)
    for key in ("b/2", "b/10", "a.json", "b/1"):
        store.put(key, key.encode())
    store.put("b/1", b"anew")
    assert store.get("b/1") == b"anew"
    assert [(e.key, e.size) for e in store.list()] == [
        ("a.json", 6),
        ("b/1", 4),
        ("b/10", 4),
        ("b/2", 3),
    ]
    assert [e.key for e in store.list("b/1")] == ["b/1", "b/10"]
    store.delete("b/1")
    store.delete("b/1")
    assert [e.key for e in store.list("b/1")] == ["b/10"]


def test_folders_stand_in_a_listing_where_their_keys_do(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    keys = ["a-b", "a/b/c", "a/b0", "a0", "ab/c"]
    for key in reversed(keys):
        store.put(key, b"")
    assert [entry.key for entry in store.list()] == sorted(keys) == keys
    assert [entry.key for entry in store.list("a/b")] == ["a/b/c", "a/b0"]
    assert [entry.key for entry in store.list("a/b/")] == ["a/b/c"]


def test_a_folder_is_walked_no_further_than_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (tmp_path / f"{number:02d}").mkdir()
        (tmp_path / f"{number:02d}" / "file").write_bytes(b"")
    walked, scandir = [], os.scandir

    def told(path: Path) -> object:
        walked.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", told)
    assert next(LocalStore(tmp_path).list()).key == "00/file"
    assert len(walked) == 2


def test_what_is_not_there_is_a_key_error(place: str) -> None:
    store = open_store(place)
    assert list(store.list()) == []
    store.put("folder/x", b"")
    for key in ("nothing", "folder", "folder/x/y"):
        with pytest.raises(KeyError):
            store.get(key)
        with pytest.raises(KeyError):
            store.open(key)


def at_once(act: Callable[[Store, int], bool], place: str) -> list[int]:
    """Those of many writers, on two connections, for whom `act` was true."""
    stores, barrier = [open_store(place), open_store(place)], threading.Barrier(WRITERS)
    for store in stores:
        list(store.list())  # connected, so that the writers differ by as little as can be

    def run(writer: int) -> bool:
        barrier.wait()
        return act(stores[writer % 2], writer)

    with ThreadPoolExecutor(WRITERS) as pool:
        return [writer for writer, won in enumerate(pool.map(run, range(WRITERS))) if won]


def test_of_many_writers_of_a_new_key_exactly_one_is_first(place: str) -> None:
    keys = [f"k{number}" for number in range(ROUNDS)]
    first: dict[str, list[int]] = {key: [] for key in keys}

    def write_all(store: Store, writer: int) -> bool:
        for key in keys:
            if store.put_if_absent(key, b"%d" % writer * 100):
                first[key].append(writer)
        return True

    at_once(write_all, place)
    for key in keys:
        assert len(first[key]) == 1
        assert open_store(place).get(key) == b"%d" % first[key][0] * 100


def test_of_many_writers_that_saw_the_same_bytes_exactly_one_replaces_them(place: str) -> None:
    store = open_store(place)
    store.put("x", b"before")
    _, etag = store.get_with_etag("x")
    won = at_once(lambda s, writer: s.replace("x", b"after %d" % writer, etag=etag), place)
    assert len(won) == 1
    assert store.get("x") == b"after %d" % won[0]
    assert not store.replace("x", b"late", etag=etag)


def test_nothing_is_replaced_where_nothing_is(place: str) -> None:
    store = open_store(place)
    store.put("old", b"1")
    _, etag = store.get_with_etag("old")
    assert not store.replace("new", b"2", etag=etag)
    assert [entry.key for entry in store.list()] == ["old"]


def test_a_reader_never_sees_half_an_object(place: str) -> None:
    store, size, done = open_store(place), 300_000, threading.Event()
    store.put("x", b"0" * size)

    def write() -> None:
        for digit in range(1, 10):
            store.put("x", b"%d" % digit * size)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not done.is_set() and not writing.done():
            data = store.get("x")
            assert len(data) == size
            assert len(set(data)) == 1
        writing.result()


def test_only_the_ranges_that_are_read_are_fetched(place: str) -> None:
    store, data = open_store(place), os.urandom(1_000_000)
    store.put("big", data)
    with store.open("big") as file:
        assert file.seek(-10, os.SEEK_END) == len(data) - 10
        assert file.read() == data[-10:]
        file.seek(123_456)
        assert file.read(1000) == data[123_456:124_456]
        assert file.tell() == 124_456
        file.seek(0)
        assert file.read() == data
        assert file.read() == b""


def test_a_store_pickles_to_its_place(place: str) -> None:
    store = open_store(place)
    store.put("x", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert again.uri == store.uri
    assert again.get("x") == b"1"
    assert b"secret" not in pickle.dumps(store)


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "", "a\\..\\x", "c:x"])
def test_no_key_leaves_the_release(place: str, key: str) -> None:
    store = open_store(place)
    for act in (store.get, store.delete, store.open, lambda key: store.put(key, b"")):
        with pytest.raises(ReleaseError, match="no key of a release"):
            act(key)


def test_check_writable_leaves_nothing_behind(place: str, tmp_path: Path) -> None:
    store = open_store(place)
    store.check_writable()
    assert list(store.list()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_listing_of_more_than_one_page_is_whole(s3: S3Server, bucket: str) -> None:
    store = open_store(f"s3://{bucket}/many")
    keys = [f"{number:05d}" for number in range(1_005)]  # S3 lists 1,000 at a time
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys))
    assert [entry.key for entry in store.list()] == keys


def test_a_large_file_goes_to_s3_in_parts_and_is_there_whole(
    bucket: str, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifests.storage.s3.store.PART_BYTES", 5 * 2**20)  # the least of S3
    data = bytes(range(256)) * (12 * 2**12)
    (tmp_path / "shard").write_bytes(data)
    store = open_store(f"s3://{bucket}/shards")
    store.put_file("rows.parquet", tmp_path / "shard")
    assert store.get("rows.parquet") == data
    head = s3.client().head_object(Bucket=bucket, Key="shards/rows.parquet")
    assert head["ETag"].strip('"').endswith("-3")  # of three parts
    assert head["ContentType"] == "application/vnd.apache.parquet"


def test_a_large_file_that_is_refused_is_told_like_a_small_one(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifests.storage.s3.store.PART_BYTES", 5 * 2**20)
    (tmp_path / "shard").write_bytes(bytes(6 * 2**20))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ReleaseError, match="the secret key does not fit"):
        open_store(f"s3://{s3.make_bucket()}/shards").put_file("000.tar", tmp_path / "shard")


def test_objects_on_s3_carry_the_type_that_a_browser_needs(s3: S3Server, bucket: str) -> None:
    store = open_store(f"s3://{bucket}")
    for key, kind in (("README.md", "text/markdown"), ("x.nii.gz", "application/gzip")):
        store.put(key, b"x")
        assert s3.client().head_object(Bucket=bucket, Key=key)["ContentType"].startswith(kind)


def test_what_is_stored_outlives_a_killed_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = S3Server.start(tmp_path)
    try:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        store = open_store(f"s3://{server.make_bucket()}/release")
        assert store.put_if_absent("mark", b"1")
        server.kill()
        assert server.run()
        assert not store.put_if_absent("mark", b"2")
        assert store.get("mark") == b"1"
    finally:
        server.stop()


def test_a_writer_that_dies_leaves_no_object_and_its_side_file_is_swept(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from manifests.storage import local
local.os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
local.LocalStore(Path(sys.argv[1])).put("x", b"data")
"""
    dead = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert dead.returncode == -9
    store = LocalStore(tmp_path)
    assert len(list((tmp_path / SIDE_FOLDER).iterdir())) == 1
    assert list(store.list()) == []
    store.sweep()
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_spares_the_side_files_of_living_writers(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with store._side_file("x", b"data") as (side, target, name):
        LocalStore(tmp_path).sweep()
        side.rename_to(target, name)
    assert store.get("x") == b"data"


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("", "empty location"),
        ("ftp://bucket/x", "cannot use ftp://"),
        ("s3:/bucket/x", "two slashes"),
        ("s3:bucket", "two slashes"),
        ("s3://", "no bucket name"),
        ("s3://a b/x", "no bucket name"),
    ],
)
def test_a_place_that_cannot_be_is_told_in_one_line(uri: str, line: str) -> None:
    with pytest.raises(ReleaseError, match=line) as caught:
        open_store(uri)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_place_is_written_the_same_way_however_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = str(tmp_path / "out")
    for given in ("out", "./out/", tmp_path / "out", f"file://{tmp_path}/out"):
        assert open_store(given).uri == expected
    assert open_store("s3://bucket/a/b/").uri == "s3://bucket/a/b"
    assert open_store("s3://bucket").uri == "s3://bucket"
