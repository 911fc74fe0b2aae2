"""A release is closed again: strangers are shut out first, and it says so."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from manifests.changes.changing import changing
from manifests.changes.holder import Holder
from manifests.commands.publishing import opening
from manifests.errors import ReleaseError
from manifests.format.release_json import read_release
from manifests.publish import gate, strangers
from manifests.publish.bucket_policy import BucketGate
from manifests.publish.closing import mark_closed
from manifests.publish.gate import let_in
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.publish.statements import public_statements, with_public_read, without_public_read
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.base import Store
from manifests.storage.local import LocalStore
from manifests.storage.s3.store import S3Store
from manifests.verify import verify
from ray_jobs.cli import main
from tests.manifests.dying_store import Died, DyingStore
from tests.manifests.evaluations import evaluate
from tests.manifests.ledger.test_finalise import everything
from tests.manifests.publish.test_kill import STRIDE, dies_once_decided, small_page
from tests.manifests.publish.test_publication import etags
from tests.manifests.releases import make_release

WHY, DAY = "consent was withdrawn", "2026-11-24"
OPTIONS = PublishOptions(license="CC-BY-4.0", date="2026-11-23", authors=("A. Lab",))
OTHER = {
    "Sid": "TheLabReads",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
    "Action": ["s3:GetObject"],
    "Resource": ["arn:aws:s3:::lab/*"],
}


def closes(uri: str, *more: str) -> int:
    return main(["unpublish", uri, "--reason", WHY, "--date", DAY, *more])


def stranger() -> Any:
    return boto3.client("s3", config=Config(signature_version=UNSIGNED))


def test_only_what_publish_added_is_taken_out_of_a_policy() -> None:
    opened = with_public_read({"Statement": [OTHER]}, "lab", "r")
    both = with_public_read(opened, "lab", "r2")
    closed = without_public_read(both, "lab", "r")
    assert closed is not None
    assert closed["Statement"] == [OTHER, *public_statements("lab", "r2")]
    assert without_public_read(closed, "lab", "r") is None
    assert without_public_read(None, "lab", "r") is None


def test_a_release_in_a_bucket_is_closed_and_opened_again(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, other = f"s3://{bucket}/a/release", f"s3://{bucket}/a/release-2"
    for place in (uri, other):
        make_release(place, 2)
        assert main(["publish", place, "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 0
    client = stranger()
    assert client.get_object(Bucket=bucket, Key="a/release/release.json")
    capsys.readouterr()
    assert closes(uri) == 2  # nobody at a terminal, and no --yes
    assert "--yes" in capsys.readouterr().err
    assert closes(uri, "--dry-run") == 0
    assert "would open it no more" in capsys.readouterr().out
    assert client.get_object(Bucket=bucket, Key="a/release/release.json")
    assert closes(uri, "--yes") == 0
    assert f"{uri} is closed now: strangers are refused" in capsys.readouterr().out
    for key in ("release.json", "index.html", "sub-000000/anat/sub-000000_T1w.nii.gz"):
        with pytest.raises(ClientError, match="AccessDenied"):
            client.get_object(Bucket=bucket, Key=f"a/release/{key}")
    with pytest.raises(ClientError, match="AccessDenied"):
        client.list_objects_v2(Bucket=bucket, Prefix="a/release/")
    assert client.get_object(Bucket=bucket, Key="a/release-2/release.json")
    told = f"Unpublished on {DAY}: this release is public no more. Why: {WHY}"
    store = open_store(uri)
    assert told in store.get("README.md").decode()
    assert f'<p class="banner">{told}</p>' in store.get("index.html").decode()
    assert main(["info", uri]) == 0
    assert "Unpublished on" in capsys.readouterr().out
    assert verify(Release.open(uri)).findings == []
    before = etags(store)
    assert closes(uri, "--yes") == 0
    assert "was closed already" in capsys.readouterr().out
    assert etags(store) == before
    assert main(["publish", uri]) == 0
    assert client.get_object(Bucket=bucket, Key="a/release/release.json")
    assert b"Unpublished" not in store.get("README.md")
    assert Release.open(uri).document.published.last.version == "1.0.0"  # type: ignore[union-attr]


def test_a_release_that_stays_open_by_another_statement_is_told_by_its_name(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 2)
    assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 0
    owner = boto3.client("s3")
    policy = json.loads(owner.get_bucket_policy(Bucket=bucket)["Policy"])
    wide = {
        "Sid": "AllOfIt",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/a/*"],
    }
    policy["Statement"].append(wide)
    owner.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    monkeypatch.setattr(strangers, "SEEN_WITHIN_SECONDS", 1.0)
    capsys.readouterr()
    assert closes(uri, "--yes") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "STILL OPEN to everyone: by other statements of the policy" in line
    assert "(AllOfIt)" in line


def test_what_is_damaged_is_closed_all_the_same(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    store = make_release(uri, 2)
    assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 0
    store.put("release.json", b"{")
    capsys.readouterr()
    assert closes(uri, "--yes") == 1
    assert "strangers are shut out; what could not be done is to say so" in capsys.readouterr().err
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger().get_object(Bucket=bucket, Key="a/release/index.html")


def test_death_at_every_write_of_the_mark_is_mended_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(Holder, "is_gone", True)  # who died was a process of its own
    made, seen = tmp_path / "made", set()
    make_release(made, 3)
    evaluation = evaluate(tmp_path / "e", made)
    options = PublishOptions(
        license="CC-BY-4.0", date="2026-11-23", authors=("A",), evaluation=evaluation
    )
    publish(Release.open(made), options, page=small_page)

    def act(store: LocalStore) -> None:
        mark_closed(Release(store, read_release(store)), date=DAY, reason=WHY, page=small_page)

    shutil.copytree(made, tmp_path / "undisturbed")
    act(LocalStore(tmp_path / "undisturbed"))
    undisturbed = everything(open_store(tmp_path / "undisturbed"))
    assert verify(Release.open(tmp_path / "undisturbed")).findings == []
    for death in range(1, 200, STRIDE):
        place = tmp_path / str(death)
        shutil.copytree(made, place)
        store = DyingStore(place, death=death)
        try:
            act(store)
        except Died:
            seen.add(Release.open(place).about["published"].get("closed") is not None)
            act(LocalStore(place))
        assert everything(open_store(place)) == undisturbed
        shutil.rmtree(place)
        if store.death > 0:
            break
    else:
        pytest.fail("it never outlived all its writes")
    assert seen == {False, True}


def test_whoever_comes_next_finishes_what_was_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path, 2)
    publish(Release.open(tmp_path), OPTIONS, page=small_page)
    monkeypatch.setattr(Holder, "is_gone", True)
    dies_once_decided(tmp_path, lambda store: mark_closed(Release.at(store), date=DAY, reason=WHY))
    assert b"Unpublished" not in (tmp_path / "README.md").read_bytes()
    closed = Release.open(tmp_path).document.published.closed  # type: ignore[union-attr]
    assert closed is not None
    assert closed.reason == WHY
    capsys.readouterr()
    assert closes(str(tmp_path), "--yes") == 0
    told = capsys.readouterr().out
    assert "an interrupted `brainpress unpublish` was finished first" in told
    assert "it says so already" in told
    assert b"Unpublished" in (tmp_path / "README.md").read_bytes()
    assert verify(Release.open(tmp_path)).findings == []


def test_what_another_is_changing_is_closed_to_strangers_and_marked_later(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate, "WAIT_SECONDS", 0.0)
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 2)
    assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 0
    capsys.readouterr()
    with changing(open_store(uri), "publish"):
        assert closes(uri, "--yes") == 1
    told = capsys.readouterr().err
    assert "is being changed: `brainpress publish` of" in told
    assert "strangers are shut out; what could not be done is to say so" in told
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger().get_object(Bucket=bucket, Key="a/release/index.html")
    assert closes(uri, "--yes") == 0
    assert "was closed already" in capsys.readouterr().out
    assert b"Unpublished" in open_store(uri).get("README.md")


def test_what_is_unpublished_before_publish_opens_it_stays_closed(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 2)
    opens = opening.open_release

    def opens_later(store: Store, **more: Any) -> int:
        assert closes(uri, "--yes") == 0
        return opens(store, **more)

    with monkeypatch.context() as patched:
        patched.setattr("manifests.commands.publish.open_release", opens_later)
        assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 1
    assert f"{uri} was unpublished meanwhile and stays closed" in capsys.readouterr().err
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger().get_object(Bucket=bucket, Key="a/release/index.html")
    BucketGate(S3Store(bucket, "a/release")).open()  # as of a process that died over it
    assert main(["verify", uri]) == 1
    assert "error closed-open release.json: Unpublished on" in capsys.readouterr().err
    assert closes(uri, "--yes") == 0
    assert main(["verify", uri]) == 0
    assert main(["publish", uri]) == 0
    assert stranger().get_object(Bucket=bucket, Key="a/release/index.html")


def test_what_publish_opens_before_it_is_marked_is_closed_once_more(bucket: str) -> None:
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 2)
    assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", "A. Lab"]) == 0
    store = open_store(uri)
    assert isinstance(store, S3Store)
    policy = BucketGate(store)
    assert policy.close()
    assert let_in(store, policy)  # by a publish that had not opened it yet
    mark_closed(Release.open(uri), date=DAY, page=small_page, gate=policy)
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger().get_object(Bucket=bucket, Key="a/release/index.html")


def test_what_was_never_published_has_nothing_to_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_release(tmp_path, 2)
    before = etags(store)
    assert closes(str(tmp_path), "--yes") == 0
    assert "never published" in capsys.readouterr().out
    assert etags(store) == before


def test_rows_that_somebody_changed_are_not_sealed_anew(tmp_path: Path) -> None:
    store = make_release(tmp_path, 2)
    publish(Release.open(tmp_path), OPTIONS, page=small_page)
    store.put("participants.tsv", b"participant_id\n")
    with pytest.raises(ReleaseError, match=r"participants.tsv is not the file that release\.json"):
        mark_closed(Release.open(tmp_path), date=DAY, page=small_page)
