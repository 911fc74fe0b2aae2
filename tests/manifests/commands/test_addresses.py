"""A stranger's tour: every reading command over every address that they may be sent."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from manifests import Volumes
from manifests.digests import sha256
from ray_jobs.cli import main
from tests.manifests.releases import make_release
from tests.servers import S3Server
from tests.web_servers import Azure, Hub, Plain, Ranged, serving

SAMPLES = 6
# Whether what is there can be listed, so that `verify` finds what does not belong.
LISTED = {
    "a plain server": False,
    "a server with ranges": False,
    "the https address of a bucket": False,
    "a dataset on the Hub": False,
    "a bucket of Google's": True,
    "a container of Azure's": True,
    "a bucket of another S3 server": True,
}
Words = tuple[str, ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf") / "release"
    make_release(folder, SAMPLES)
    return folder


@pytest.fixture(scope="module")
def public(s3_server: S3Server, folder: Path) -> str:
    """A public bucket with the release below a/r."""
    bucket = s3_server.make_bucket(public=True)
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"a/r/{path.relative_to(folder).as_posix()}"
            s3_server.client().put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    return bucket


@pytest.fixture(params=LISTED)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def address(
    kind: str,
    folder: Path,
    s3_server: S3Server,
    public: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Words]:
    """The words by which a stranger, who has no credentials of anything, names the release."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    endpoint = ("--endpoint-url", s3_server.endpoint)
    with ExitStack() as stack:
        if kind == "a plain server":
            yield (stack.enter_context(serving(folder, Plain)).url,)
        elif kind == "a server with ranges":
            yield (f"{stack.enter_context(serving(folder, Ranged)).url}/index.html#sort=age",)
        elif kind == "the https address of a bucket":
            yield (f"{s3_server.endpoint}/{public}/a/r/",)
        elif kind == "a dataset on the Hub":
            monkeypatch.setenv("HF_ENDPOINT", stack.enter_context(serving(folder, Hub)).url)
            yield ("hf://datasets/lab/brains",)
        elif kind == "a bucket of Google's":
            # SeaweedFS answers the requests of Google's XML interface that a reader makes.
            yield (f"gs://{public}/a/r", *endpoint)
        elif kind == "a container of Azure's":
            url = stack.enter_context(serving(folder, Azure)).url
            yield ("az://brains", "--endpoint-url", f"{url}/account")
        else:
            yield (f"s3://{public}/a/r", *endpoint)


def test_a_stranger_reads_a_release_at_whatever_address(
    kind: str,
    address: Words,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["info", *address, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((folder / "release.json").read_text())
    digest = sha256((folder / "release.json").read_bytes())
    assert main(["query", *address, "--expect", digest, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    older = [row["participant_id"] for row in rows if row["age"] > 60]
    assert len(rows) == SAMPLES > len(older) > 0
    assert main(["query", *address, "SELECT count(*) AS n FROM manifest", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": SAMPLES}]

    assert main(["verify", *address]) == 0
    said = capsys.readouterr()
    assert f"all is well: {SAMPLES} images" in said.out
    assert ("not-listed" in said.err) != LISTED[kind]
    assert main(["verify", *address, "--sample", "2"]) == 0
    how = "that they are there and their size" if LISTED[kind] else "does not list its files"
    assert how in capsys.readouterr().out

    out = tmp_path / "brains"
    assert main(["download", *address, str(out), "--where", "age > 60"]) == 0
    images = sorted(path.relative_to(out) for path in out.rglob("*.nii.gz"))
    assert [image.parts[0] for image in images] == older
    for image in images:
        assert (out / image).read_bytes() == (folder / image).read_bytes()
    assert main(["verify", str(out)]) == 0
    capsys.readouterr()
    assert main(["info", str(out)]) == 0
    assert address[0].partition("/index.html")[0].rstrip("/") in capsys.readouterr().out

    shards = tmp_path / "shards"
    assert main(["shards", *address, "--out", str(shards)]) == 0
    assert (shards / "shard-000000.tar").stat().st_size > 0


def test_volumes_streams_from_whatever_address(address: Words, tmp_path: Path) -> None:
    endpoint = address[2] if len(address) > 1 else None
    volumes = Volumes(address[0], endpoint_url=endpoint, cache=tmp_path / "cache")
    first, row = volumes[0]
    assert (len(volumes), row["participant_id"]) == (SAMPLES, "sub-000000")
    arrived = pickle.loads(pickle.dumps(volumes))
    assert (arrived[0][0] == first).all()
    if sys.platform != "linux":
        return
    child = os.fork()
    if child == 0:  # a worker of a DataLoader: with connections of its own
        os._exit(0 if volumes[5][0].shape == first.shape else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["publish", "--license", "CC-BY-4.0", "--author", "A. Lab"],
        ["withdraw", "sub-000001", "--reason", "x", "--yes"],
        ["unpublish", "--yes"],
        ["shards"],
    ],
)
def test_what_would_write_to_an_address_that_is_only_read_says_so(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(folder) as server:
        assert main([words[0], server.url, *words[1:]]) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"brainpress {words[0]}: {server.url}")
        assert "only read" in line
        assert line.count("\n") == 1
        assert {method for method, _, _ in server.requests} <= {"GET"}


def test_where_no_release_lies_is_told_in_one_line(
    address: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    base = address[0].partition("/index.html")[0].rstrip("/")
    for verb in ("info", "verify"):
        for more in ([], ["--json"]):
            assert main([verb, f"{base}/nothing", *address[1:], *more]) == 2
            said = capsys.readouterr()
            assert said.err.count("\n") == 1
            assert "no release there" in said.err


def test_a_damaged_release_json_is_a_finding_at_an_address_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "release.json").write_text("{")
    with serving(tmp_path) as server:
        assert main(["verify", server.url, "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["code"] == "release-damaged"


def test_shards_go_from_an_address_into_a_bucket_elsewhere(
    folder: Path, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with serving(folder) as server:
        out = ["--out", f"s3://{bucket}/shards", "--endpoint-url", s3.endpoint]
        assert main(["shards", server.url, *out]) == 0
    found = s3.client().list_objects_v2(Bucket=bucket, Prefix="shards/")["Contents"]
    assert "shards/shard-000000.tar" in [item["Key"] for item in found]


def test_who_only_reads_a_changed_release_is_not_told_to_publish_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "release"
    make_release(folder, SAMPLES)
    words = ["--license", "CC-BY-SA-4.0", "--author", "The Example Lab"]
    assert main(["publish", str(folder), *words]) == 0
    assert main(["withdraw", str(folder), "sub-000003", "--reason", "no cerebellum", "--yes"]) == 0
    capsys.readouterr()
    assert main(["info", str(folder)]) == 0
    assert "withdrawn since version 1.0.0 was published: run `brainpress publish`" in one_line(
        capsys.readouterr().out
    )
    with serving(folder) as server:
        assert main(["info", server.url]) == 0
        told = one_line(capsys.readouterr().out)
        assert "as no version has it yet: see --release-version 1.0.0" in told
        assert "brainpress publish" not in told
        assert main(["info", server.url, "--release-version", "1.0.0"]) == 0


def one_line(text: str) -> str:
    return " ".join(text.split())
