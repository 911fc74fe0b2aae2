"""Whose credentials a bucket is asked with, at which server; none are needed for what is public."""

from __future__ import annotations

import logging
import pickle
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

import pytest

from manifests.errors import ReleaseError, StorageError
from manifests.storage import open_store
from manifests.storage.s3.connection import Access, region_of
from manifests.storage.s3.store import S3Store
from tests.servers import S3Server
from tests.web_servers import Ranged, serving

# What may be wrong with credentials, and how it is told.
STALE = {
    "an unknown key": ({"AWS_ACCESS_KEY_ID": "left-long-ago"}, "not known there"),
    "another secret": ({"AWS_SECRET_ACCESS_KEY": "changed-since"}, "does not fit"),
    "a profile that is gone": ({"AWS_PROFILE": "gone"}, "could not be found"),
}
stale = pytest.mark.parametrize(("variables", "why"), STALE.values(), ids=STALE.keys())


@pytest.fixture
def public(s3: S3Server) -> str:
    """A public bucket with two objects."""
    bucket = s3.make_bucket(public=True)
    for key in ("a", "b"):
        s3.client().put_object(Bucket=bucket, Key=f"r/{key}", Body=key.encode() * 1000)
    return f"s3://{bucket}/r"


def given(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@stale
def test_what_is_public_is_read_in_spite_of_stale_credentials_and_a_line_says_so(
    public: str,
    variables: dict[str, str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    given(monkeypatch, variables)
    store = open_store(public)
    with caplog.at_level(logging.WARNING):
        assert store.get("a") == b"a" * 1000
        assert b"".join(store.get_chunks("b")) == b"b" * 1000
        assert [entry.key for entry in store.list()] == ["a", "b"]
        assert store.look("nothing") is None
        with store.open("a") as file:
            assert file.read(3) == b"aaa"
        with pytest.raises(KeyError):
            store.get("nothing")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{public} is public, and read without credentials; those found are")
    assert why in line
    assert "changed-since" not in line


@pytest.mark.parametrize("act", ["get_chunks", "list", "look", "open"])
def test_it_does_not_matter_what_is_read_first(
    public: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, {"AWS_ACCESS_KEY_ID": "left-long-ago"})
    found = getattr(open_store(public), act)("a")
    assert [entry.key for entry in found] == ["a"] if act == "list" else found is not None
    if act == "get_chunks":
        assert b"".join(found) == b"a" * 1000


@stale
def test_writing_is_never_done_without_credentials(
    public: str, variables: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, variables)
    store = open_store(public)
    assert store.get("a")
    with pytest.raises(ReleaseError, match=why):
        store.put("a", b"other")


@stale
def test_what_is_private_is_told_as_before(
    bucket: str, variables: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(f"s3://{bucket}/r").put("a", b"a")
    given(monkeypatch, variables)
    with pytest.raises(ReleaseError, match=why):
        open_store(f"s3://{bucket}/r").get("a")


def test_credentials_may_be_left_alone(public: str, bucket: str) -> None:
    open_store(f"s3://{bucket}/r").put("a", b"a")
    assert open_store(public, anonymous=True).get("a") == b"a" * 1000
    with pytest.raises(StorageError) as caught:
        open_store(f"s3://{bucket}/r", anonymous=True).get("a")
    assert "credentials are left alone, and it is not open to everyone" in str(caught.value)
    assert "leave out --anonymous" in str(caught.value)


def test_an_endpoint_that_was_told_wins_over_that_of_the_environment(
    s3: S3Server, public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = open_store(public, endpoint_url=s3.endpoint)
    assert store.get("a") == b"a" * 1000
    assert store.words == (public, "--endpoint-url", s3.endpoint)
    arrived = pickle.loads(pickle.dumps(store))
    assert arrived.get("b") == b"b" * 1000
    assert arrived.patient(1.0).access == Access(endpoint_url=s3.endpoint)
    with pytest.raises(ReleaseError, match="--endpoint-url") as caught:
        open_store(public, endpoint_url="https://me:secret@h.org").get("a")
    assert "secret" not in str(caught.value)


class Speaking(Ranged):
    """A stand-in for what the tests' server does not know: refusals of AWS, in its own words."""

    code: ClassVar[str] = "AccessDenied"
    message: ClassVar[str] = "Access Denied"

    def do_GET(self) -> None:
        if self.allowed():
            self.path = self.path.partition("?")[0].removeprefix("/lab")
            super().do_GET()
        else:
            self.refuse()

    def do_HEAD(self) -> None:
        if self.allowed():
            self.path = self.path.removeprefix("/lab")
            super().do_HEAD()
        else:
            self.refuse()

    def allowed(self) -> bool:
        return False

    def refuse(self) -> None:
        body = f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>".encode()
        denied = self.code == "AccessDenied"
        self.send_response(HTTPStatus.FORBIDDEN if denied else HTTPStatus.BAD_REQUEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def test_who_asks_pays_where_they_say_so(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Paid(Speaking):
        def allowed(self) -> bool:
            return self.headers.get("x-amz-request-payer") == "requester"

    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "a").write_bytes(b"a" * 1000)
    with serving(tmp_path, Paid) as server:
        with pytest.raises(StorageError, match="set AWS_REQUEST_PAYER=requester"):
            open_store("s3://lab/r", endpoint_url=server.url).get("a")
        monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
        store = open_store("s3://lab/r", endpoint_url=server.url)
        assert store.get("a") == b"a" * 1000
        server.requests.clear()
        assert b"".join(store.get_chunks("a")) == b"a" * 1000
        assert len(server.requests) == 1  # the stream said it too


@pytest.mark.parametrize("anonymous", [False, True])
def test_what_a_key_of_kms_has_locked_is_told(
    s3: S3Server, tmp_path: Path, anonymous: bool
) -> None:
    class Locked(Speaking):
        code = "InvalidArgument" if anonymous else "AccessDenied"
        message = (
            "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS"
            " Signature Version 4."
            if anonymous
            else "User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on resource"
        )

    with serving(tmp_path, Locked) as server:
        store = open_store("s3://my-kms-lab/r", endpoint_url=server.url, anonymous=anonymous)
        for act in (lambda: store.get("a"), lambda: store.open("a")):
            with pytest.raises(StorageError) as caught:
                act()
            line = str(caught.value)
            assert "it is encrypted with a key of AWS KMS" in line
            assert ("strangers" if anonymous else "these credentials") in line
            assert "\n" not in line


def test_a_name_with_kms_in_it_is_no_key_of_kms(s3: S3Server, tmp_path: Path) -> None:
    class Denied(Speaking):
        message = "User is not authorized to perform: s3:GetObject on arn:aws:s3:::my-kms-lab/r/a"

    with serving(tmp_path, Denied) as server:
        store = open_store("s3://my-kms-lab/r", endpoint_url=server.url)
        with pytest.raises(StorageError, match="these AWS credentials are not allowed to"):
            store.get("a")


def test_the_region_of_aws_other_tools_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    client = S3Store("lab", "r").client
    assert client.meta.region_name == "eu-west-1"
    assert client.meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"


def test_a_server_that_is_not_aws_is_not_asked_for_a_region(s3: S3Server) -> None:
    client = S3Store("no-such-bucket", "r").client
    assert region_of(client, "no-such-bucket") == "us-east-1"
