"""Credentials go to the server and nowhere else: no output, no file, no error holds them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests.errors import ReleaseError
from manifests.storage import open_store
from ray_jobs.cli import main
from tests.manifests.releases import make_release
from tests.servers import SECRET_KEY, S3Server

PASSWORD = "hunter2-of-the-endpoint"
VERBS = ("info", "query", "verify", "status")


def everything_said(
    uri: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[list[int], str]:
    """The exit codes of every verb on `uri`, and all that they printed."""
    codes = [main([verb, uri]) for verb in VERBS]
    codes += [main([verb, uri, "--json"]) for verb in ("info", "verify", "status")]
    codes.append(main(["download", uri, str(out)]))
    codes.append(main(["publish", uri, "--license", "CC0-1.0", "--author", "A"]))
    codes.append(main(["withdraw", uri, "sub-000001", "--yes", "--reason", "found bad"]))
    return codes, "".join(capsys.readouterr())


def files_below(folder: Path) -> Iterator[bytes]:
    yield from (path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_secret_is_in_no_output_and_no_file(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(f"s3://{bucket}/release", 3)
    codes, said = everything_said(store.uri, tmp_path / "out", capsys)
    assert set(codes) == {0}
    assert SECRET_KEY not in said
    stored = [store.get(entry.key) for entry in store.list()]
    found = [data for data in (*stored, *files_below(tmp_path)) if SECRET_KEY.encode() in data]
    assert found == []
    source = json.loads((tmp_path / "out" / "release.json").read_text())["source"]
    assert source["uri"] == shlex.join(store.words)


WRONG: dict[str, dict[str, str]] = {
    "a wrong secret": {"AWS_SECRET_ACCESS_KEY": PASSWORD},
    "a wrong token": {"AWS_SESSION_TOKEN": PASSWORD},
    "an endpoint with a password": {"AWS_ENDPOINT_URL": f"http://me:{PASSWORD}@127.0.0.1:9"},
    "an endpoint with a password, of S3": {
        "AWS_ENDPOINT_URL_S3": f"http://me:{PASSWORD}@127.0.0.1:9"
    },
    "a signed endpoint": {"AWS_ENDPOINT_URL": f"http://127.0.0.1:9/?X-Amz-Signature={PASSWORD}"},
    "an endpoint that is none": {"AWS_ENDPOINT_URL": f"not a url {PASSWORD}"},
    "a server that is away": {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
    },
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_with_credentials_is_told_without_them(
    bucket: str,
    wrong: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    if wrong == WRONG["an endpoint that is none"]:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)  # it is known, and starred out
    monkeypatch.setattr("manifests.storage.s3.connection.ATTEMPTS", 1)
    code = main(["info", f"s3://{bucket}/release"])
    said = "".join(capsys.readouterr())
    assert code in (1, 2)
    assert said.count("\n") == 1
    assert PASSWORD not in said
    assert list(files_below(tmp_path)) == []


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://AKIA:{PASSWORD}@bucket/release",
        f"s3://bucket/release?X-Amz-Signature={PASSWORD}",
        f"https://bucket.s3.amazonaws.com/release?X-Amz-Credential=a&X-Amz-Signature={PASSWORD}",
        f"https://me:{PASSWORD}@host/release",
        f"ftp://me:{PASSWORD}@host/release?token={PASSWORD}",
    ],
)
def test_an_address_with_credentials_is_refused_and_not_shown(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ReleaseError) as caught:
        open_store(uri)
    assert PASSWORD not in str(caught.value)
    codes, said = everything_said(uri, tmp_path / "out", capsys)
    assert set(codes) == {2}
    assert PASSWORD not in said


def test_what_a_store_shows_and_how_it_travels_holds_no_secret(s3: S3Server, bucket: str) -> None:
    import pickle

    store = open_store(f"s3://{bucket}/release")
    store.put("x", b"x")  # it has connected
    for shown in (repr(store), str(vars(store)), str(pickle.dumps(store))):
        assert SECRET_KEY not in shown
