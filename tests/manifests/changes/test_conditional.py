"""Conditional writes are tried: servers that ignore them, or lack them, are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from manifests.changes.conditional import check_conditional_writes
from manifests.errors import ReleaseError
from manifests.ledger import Ledger
from manifests.storage import open_store
from manifests.storage.s3.store import S3Store
from ray_jobs.cli import main
from tests.manifests.releases import make_release
from tests.servers import S3Server

Send = Callable[..., None]
send: Send = S3Store._send


def ignores(*names: str) -> Send:
    """What such a server does with a put: it does not know these conditions."""

    def sent(self: S3Store, key: str, body: Any, digest: bytes, **about: str) -> None:
        send(self, key, body, digest, **{k: v for k, v in about.items() if k not in names})

    return sent


def lacks(self: S3Store, key: str, body: Any, digest: bytes, **about: str) -> None:
    if about.keys() & {"IfNoneMatch", "IfMatch"}:
        answer = {"Error": {"Code": "NotImplemented", "Message": "A header you provided"}}
        raise ClientError({**answer, "ResponseMetadata": {"HTTPStatusCode": 501}}, "PutObject")
    send(self, key, body, digest, **about)


def test_a_folder_and_a_good_server_pass_and_nothing_is_left(place: str) -> None:
    store = open_store(place)
    assert check_conditional_writes(store).removes
    assert list(store.list(".")) == []
    if store.is_local:
        assert [path.name for path in Path(store.uri).rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("sending", "words"),
    [
        (ignores("IfNoneMatch", "IfMatch"), "ignores conditional writes (If-None-Match: what was"),
        (ignores("IfMatch"), "ignores conditional writes (If-Match: what had changed"),
        (lacks, "has no conditional writes"),
    ],
    ids=["ignores both", "ignores If-Match", "lacks them"],
)
def test_a_server_without_is_refused_by_its_name_before_anything_is_changed(
    s3: S3Server,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    sending: Send,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = make_release(f"s3://{bucket}/r", 3)
    before = [(entry.key, entry.etag) for entry in store.list()]
    monkeypatch.setattr(S3Store, "_send", sending)
    with pytest.raises(ReleaseError) as caught:
        check_conditional_writes(store)
    assert caught.value.exit_code == 2
    assert words in str(caught.value)
    assert f"the S3 server at {s3.endpoint} (SeaweedFS" in str(caught.value)
    assert "AWS S3" in str(caught.value)
    assert main(["withdraw", store.uri, "sub-000001", "--reason", "x", "--yes"]) == 2
    assert words in capsys.readouterr().err
    assert [(entry.key, entry.etag) for entry in store.list()] == before
    assert Ledger(store).target() == 3
