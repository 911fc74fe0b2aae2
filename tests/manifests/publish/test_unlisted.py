"""What lies below a release's prefix and is not of it is not opened to the world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from manifests.changes.holder import Holder
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.query.release import Release
from manifests.verify.orphans import unlisted
from ray_jobs.cli import main
from tests.manifests.publish.test_kill import dies_once_decided, small_page, withdraws
from tests.manifests.releases import make_release

PRIVATE = "cohort_subjects.csv"
WORDS = ["--license", "CC-BY-4.0", "--author", "A. Lab"]


def stranger_gets(bucket: str, key: str) -> Any:
    client = boto3.client("s3", config=Config(signature_version=UNSIGNED))
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def test_a_public_publish_refuses_it_by_name(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    store = make_release(uri, 2)
    store.put(PRIVATE, b"names of people")
    assert main(["publish", uri, *WORDS]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        f"holds 1 file that is not of the release, and would be open to everyone: {PRIVATE};"
        in (line.replace(" with it", ""))
    )
    assert Release.open(uri).document.published is None
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger_gets(bucket, f"a/release/{PRIVATE}")
    assert main(["publish", uri, *WORDS, "--private"]) == 0
    store.delete(PRIVATE)
    assert main(["publish", uri]) == 0
    assert stranger_gets(bucket, "a/release/release.json")


def test_wherever_it_lies_below_the_prefix_it_is_named(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    store = make_release(uri, 2)
    keys = ["evaluation/nearest.csv", "previews/real.png", "sub-01/.DS_Store", "versions/0.9.0/x"]
    for key in keys:
        store.put(key, b"names of people")
    assert main(["publish", uri, *WORDS]) == 1
    assert (
        f"holds 4 files that are not of the release, and would be open to everyone: {keys[0]}"
        in (line := capsys.readouterr().err.replace(" with it", ""))
    )
    assert all(key in line for key in keys)


def test_what_came_into_an_open_release_later_is_told_loudly(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    store = make_release(uri, 2)
    assert main(["publish", uri, *WORDS]) == 0
    store.put(PRIVATE, b"names of people")
    assert stranger_gets(bucket, f"a/release/{PRIVATE}") == b"names of people"
    capsys.readouterr()
    assert main(["publish", uri]) == 1
    assert "ANYONE CAN READ THEM NOW" in capsys.readouterr().err
    assert main(["publish", uri, "--private"]) == 0
    assert "warning: anyone can read" in capsys.readouterr().err


def test_what_comes_while_it_is_being_published_is_seen_before_it_is_opened(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    store = make_release(uri, 2)

    def and_more(*arguments: Any, **options: Any) -> Any:
        done = publish(*arguments, **options)
        store.put(PRIVATE, b"names of people")
        return done

    monkeypatch.setattr("manifests.publish.publication.publish", and_more)
    assert main(["publish", uri, *WORDS]) == 1
    assert PRIVATE in capsys.readouterr().err
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger_gets(bucket, f"a/release/{PRIVATE}")


def test_of_a_folder_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(tmp_path, 2)
    (tmp_path / PRIVATE).write_text("names of people")
    assert main(["publish", str(tmp_path), *WORDS]) == 0
    assert f"do not copy along where anyone may read: {PRIVATE}" in capsys.readouterr().err


def test_all_that_a_release_has_is_listed_and_what_a_killed_change_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_release(tmp_path, 5)
    assert unlisted(Release.open(tmp_path)) == []
    options = PublishOptions(license="CC-BY-4.0", authors=("A",), date="2026-11-23")
    publish(Release.open(tmp_path), options, page=small_page)
    assert unlisted(Release.open(tmp_path)) == []
    store.put("index.htm", b"half")
    assert unlisted(Release.open(tmp_path)) == ["index.htm"]
    store.delete("index.htm")
    monkeypatch.setattr(Holder, "is_gone", True)
    dies_once_decided(tmp_path, withdraws)
    assert [entry.key for entry in store.list("manifest/change/")]
    assert unlisted(Release.open(tmp_path)) == []
