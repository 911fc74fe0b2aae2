"""Where a published release says that it lies: what its page names is read by strangers."""

from __future__ import annotations

import html
import os
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manifests.publish import strangers
from manifests.publish.bucket_policy import PolicyError
from manifests.publish.plan import address_for_readers
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.s3.store import S3Store
from ray_jobs.cli import main
from tests.manifests.releases import make_release
from tests.servers import S3Server
from tests.web_servers import Plain, serving

LICENSED = ["--license", "CC-BY-4.0", "--author", "A. Lab"]


def forget_all_of_s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a stranger's machine."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def commands_of(page: bytes) -> dict[str, list[str]]:
    """The words of the commands that a page shows, by what they do."""
    found = {}
    for verb in ("download", "query"):
        start = f'data-command="{verb}">'
        code = page.decode().partition(start)[2].partition("<code>")[2].partition("</code>")[0]
        found[verb] = shlex.split(html.unescape(code))
    return found


def test_what_the_page_of_another_server_shows_works_for_strangers(
    s3: S3Server,
    bucket: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = f"s3://{bucket}/a/r"
    store = make_release(uri, 3)
    assert main(["publish", uri, *LICENSED]) == 0
    words = f"{uri} --endpoint-url {s3.endpoint}"
    said = capsys.readouterr().out
    assert f"for readers: brainpress info {words}\n" in said
    page, readme = store.get("index.html"), store.get("README.md").decode()
    assert f"it was published as {words}." in readme
    assert main(["publish", uri, "--endpoint-url", s3.endpoint]) == 0
    assert "nothing to publish" in capsys.readouterr().out

    forget_all_of_s3(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = commands_of(page)
    assert commands["download"] == ["brainpress", "download", *words.split(), "brains"]
    for command in commands.values():
        assert main(command[1:]) == 0
    assert main(["verify", "brains"]) == 0
    capsys.readouterr()
    assert main(["info", "brains"]) == 0
    # A long address may be wrapped.
    assert s3.endpoint in capsys.readouterr().out
    address = said.partition(f"{uri}/: ")[2].split()[0]
    assert main(["info", address]) == 0


def test_what_is_changed_with_an_endpoint_is_changed_there(
    s3: S3Server,
    bucket: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_release(f"s3://{bucket}/r", 3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    there = [f"s3://{bucket}/r", "--endpoint-url", s3.endpoint]
    assert main(["publish", *there, *LICENSED]) == 0
    capsys.readouterr()
    assert main(["withdraw", *there, "sub-000001", "--reason", "x", "--yes"]) == 0
    assert f"next  brainpress publish {shlex.join(there)}" in capsys.readouterr().out
    assert main(["unpublish", *there, "--yes"]) == 0
    release = Release.open(there[0], endpoint_url=s3.endpoint)
    assert release.about["counts"]["withdrawn"] == 1
    published = release.document.published
    assert published is not None
    assert published.closed is not None
    assert published.address == tuple(there)


@pytest.mark.parametrize(
    ("words", "url", "address"),
    [
        (None, None, None),
        (None, "https://h.org/r/index.html", ("https://h.org/r",)),
        (None, "https://h.org/about-us", None),
        (("s3://lab/r",), None, ("s3://lab/r",)),
        (("s3://lab/r",), "https://h.org/r/", ("s3://lab/r",)),
        (("s3://lab/r", "--endpoint-url", "http://minio:9000"), None, None),
        (
            ("s3://lab/r", "--endpoint-url", "http://minio:9000"),
            "https://h.org/r/",
            ("https://h.org/r",),
        ),
    ],
)
def test_readers_are_told_what_they_can_reach(
    words: tuple[str, ...] | None, url: str | None, address: tuple[str, ...] | None
) -> None:
    place: Any = SimpleNamespace(is_local=words is None, words=words or ("/a/folder",))
    if address is None and words is not None:
        address = words  # nothing better is known
    assert address_for_readers(place, url) == address


def test_a_folder_whose_page_has_an_address_names_it(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 2)
    url = "https://h.org/r/index.html"
    assert main(["publish", str(tmp_path / "r"), *LICENSED, "--url", url]) == 0
    page = open_store(tmp_path / "r").get("index.html")
    assert commands_of(page)["download"] == ["brainpress", "download", "https://h.org/r", "brains"]
    assert b'<figure data-command="sync" hidden>' in page
    assert str(tmp_path).encode() not in page


def test_a_release_that_a_key_of_kms_locks_cannot_be_opened_and_it_is_told(
    s3: S3Server, tmp_path: Path
) -> None:
    class Encrypted(Plain):
        """What AWS tells its owner of an object that was encrypted so."""

        def end_headers(self) -> None:
            self.send_header("ETag", '"1"')
            self.send_header("x-amz-server-side-encryption", "aws:kms")
            super().end_headers()

    (tmp_path / "lab" / "r").mkdir(parents=True)
    (tmp_path / "lab" / "r" / "release.json").write_text("{}")
    with serving(tmp_path, Encrypted) as server:
        store = open_store("s3://lab/r", endpoint_url=server.url)
        assert isinstance(store, S3Store)
        with pytest.raises(PolicyError, match=r"no stranger can read it .* SSE-S3 \(AES256\)"):
            strangers.check_strangers(store)
