"""What a person is told when the storage refuses or is away: one line, and never a secret."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests.errors import ReleaseError
from manifests.storage import open_store
from manifests.storage.base import Store
from tests.servers import SECRET_KEY, S3Server

ACTS: dict[str, Callable[[Store], object]] = {
    "check_writable": lambda store: store.check_writable(),
    "put": lambda store: store.put("x", b""),
    "put_if_absent": lambda store: store.put_if_absent("x", b""),
    "get": lambda store: store.get("x"),
    "list": lambda store: list(store.list()),
    "open": lambda store: store.open("x"),
}
every_act = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())


def told(act: Callable[[Store], object], uri: str, exit_code: int = 2) -> str:
    with pytest.raises(ReleaseError) as caught:
        act(open_store(uri))
    assert caught.value.exit_code == exit_code
    line = str(caught.value)
    assert "\n" not in line
    assert SECRET_KEY not in line
    return line


@every_act
def test_a_bucket_that_does_not_exist(s3: S3Server, act: Callable[[Store], object]) -> None:
    line = told(act, "s3://no-such-bucket/release")
    assert line.startswith("bucket 'no-such-bucket' does not exist at http")
    buckets = [bucket["Name"] for bucket in s3.client().list_buckets()["Buckets"]]
    assert "no-such-bucket" not in buckets  # and it was not made by trying


@every_act
def test_a_secret_that_does_not_fit(
    bucket: str, act: Callable[[Store], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    line = told(act, f"s3://{bucket}/release")
    assert "the secret key does not fit" in line
    assert "AWS_SECRET_ACCESS_KEY" in line
    assert "not-the-secret" not in line


@every_act
def test_an_access_key_that_is_not_known(
    bucket: str, act: Callable[[Store], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stranger")
    assert "the access key id is not known there" in told(act, f"s3://{bucket}/release")


def without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))


@every_act
def test_no_credentials_where_some_are_needed(
    bucket: str,
    act: Callable[[Store], object],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    without_credentials(monkeypatch, tmp_path)
    line = told(act, f"s3://{bucket}/release")
    assert "found no AWS credentials" in line


def test_a_public_bucket_is_read_and_not_written_without_credentials(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = f"s3://{s3.make_bucket(public=True)}/release"
    open_store(uri).put("x", b"open to all")
    without_credentials(monkeypatch, tmp_path)
    stranger = open_store(uri)
    assert stranger.get("x") == b"open to all"
    assert stranger.open("x").read() == b"open to all"
    assert [entry.key for entry in stranger.list()] == ["x"]
    with pytest.raises(KeyError):
        stranger.get("y")
    for name in ("check_writable", "put", "put_if_absent"):
        assert "cannot write" in told(ACTS[name], uri)


def test_half_of_the_credentials(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    assert "incomplete AWS credentials" in told(ACTS["get"], f"s3://{bucket}/release")


def test_a_profile_that_does_not_exist(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "(nobody)" in told(ACTS["get"], f"s3://{bucket}/release")


def test_a_server_that_is_away_is_given_up_soon(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    start = time.monotonic()
    line = told(ACTS["get"], f"s3://{bucket}/release", exit_code=1)
    assert "cannot connect at http://127.0.0.1:9" in line
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("uri", ["/dev/null/release", "/proc/release"])
@pytest.mark.parametrize("name", ["check_writable", "put", "put_if_absent"])
def test_a_folder_that_nobody_can_write(uri: str, name: str) -> None:
    assert told(ACTS[name], uri).startswith(("cannot write to /", f"cannot write {uri}/x: "))


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("not a folder")
    line = told(ACTS["check_writable"], str(tmp_path / "taken"))
    assert line == f"cannot write to {tmp_path}/taken: Not a directory"
