"""What an address that a stranger was sent means, and what of a wrong one they are told."""

from __future__ import annotations

import pickle

import pytest

from manifests.errors import ReleaseError
from manifests.storage import open_store, open_to_write
from manifests.storage.web.address import read_address
from manifests.storage.web.store import WebStore

ACCOUNT = "lab.blob.core.windows.net"
HUB = "https://huggingface.co/datasets/lab/brains/resolve"


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "uri", "server"),
    [
        ("https://h.org/a/r", "https://h.org/a/r", "https://h.org/a/r"),
        ("https://h.org/a/r/", "https://h.org/a/r", "https://h.org/a/r"),
        ("HTTPS://h.org:8443/r/index.html", "https://h.org:8443/r", "https://h.org:8443/r"),
        ("https://h.org/r/index.html#sample=sub-000001", "https://h.org/r", "https://h.org/r"),
        ("https://h.org/release.json", "https://h.org", "https://h.org"),
        ("gs://lab/a/r/", "gs://lab/a/r", "https://storage.googleapis.com"),
        ("gs://lab", "gs://lab", "https://storage.googleapis.com"),
        (f"az://{ACCOUNT}/open/a/r", f"az://{ACCOUNT}/open/a/r", f"https://{ACCOUNT}"),
        ("hf://datasets/lab/brains", "hf://datasets/lab/brains", f"{HUB}/main"),
        ("hf://datasets/lab/brains@v1", "hf://datasets/lab/brains@v1", f"{HUB}/v1"),
        (
            "hf://datasets/lab/brains@refs%2Fpr%2F1/a/r",
            "hf://datasets/lab/brains@refs%2Fpr%2F1/a/r",
            f"{HUB}/refs%2Fpr%2F1/a/r",
        ),
        (
            "https://huggingface.co/datasets/lab/brains",
            "hf://datasets/lab/brains",
            f"{HUB}/main",
        ),
        (
            "https://huggingface.co/datasets/lab/brains/tree/v1/a/r",
            "hf://datasets/lab/brains@v1/a/r",
            f"{HUB}/v1/a/r",
        ),
        (
            "https://huggingface.co/datasets/lab/brains/blob/main/index.html",
            "hf://datasets/lab/brains@main",
            f"{HUB}/main",
        ),
    ],
)
def test_an_address_is_understood_and_has_one_form(text: str, uri: str, server: str) -> None:
    place = read_address(text)
    assert (place.uri, place.server) == (uri, server)
    assert read_address(uri) == place


def test_the_account_of_a_container_may_be_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReleaseError, match="does not say in which storage account"):
        read_address("az://open/r")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "lab")
    assert read_address("az://open/r") == read_address(f"az://{ACCOUNT}/open/r")
    told = read_address("az://open/r", endpoint="http://127.0.0.1:9/account")
    assert (told.uri, told.server) == ("az://open/r", "http://127.0.0.1:9/account")


def test_a_mirror_of_the_hub_is_asked_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example.org/")
    place = read_address("hf://datasets/lab/brains")
    assert place.server == "https://mirror.example.org/datasets/lab/brains/resolve/main"


@pytest.mark.parametrize(
    ("text", "endpoint", "line"),
    [
        ("https://", None, "names no server"),
        ("https://h.org:port/r", None, "Port could not be cast"),
        ("https://h.org/r?X-Amz-Signature=abc", None, "an address with a query opens one file"),
        ("https://me:secret@h.org/r", None, "with a user name or a password in it"),
        ("https://h.org/r", "http://x", "--endpoint-url is for buckets"),
        ("gs://", None, "is no name of a bucket; expected gs://bucket/prefix"),
        ("gs://me:secret@lab/r", None, "credentials in it"),
        ("gs://lab/r?x=1", None, "with a query"),
        ("gs://lab/r", "minio:9000", "is no address of a server"),
        ("gs://lab/r", "https://me:secret@h.org", "is no address of a server"),
        ("az://lab.blob.core.windows.net", None, "is no name of a bucket"),
        ("hf://lab/brains", None, "expected hf://datasets/OWNER/NAME"),
        ("hf://datasets/brains", None, "expected hf://datasets/OWNER/NAME"),
        ("hf://datasets/lab/brains", "http://x", "the Hub's is HF_ENDPOINT"),
        ("https://h.org/\x1b[2J", None, "one line of text"),
        ("ftp://h.org/r", None, "cannot use ftp://"),
        ("folder", "http://x", "is a folder; --endpoint-url is for buckets"),
    ],
)
def test_a_wrong_address_is_told_in_one_line(text: str, endpoint: str | None, line: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        open_store(text, endpoint_url=endpoint)
    said = str(caught.value)
    assert line in said
    assert "\n" not in said
    assert "secret" not in said
    assert "abc" not in said
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["https://h.org/r", "gs://lab/r", "hf://datasets/lab/brains"])
def test_such_an_address_is_not_written_to(text: str) -> None:
    with pytest.raises(ReleaseError, match="such an address is only read") as caught:
        open_to_write(text)
    assert str(caught.value).startswith(text)
    store = open_store(text)
    for act in (
        lambda: store.put("x", b""),
        lambda: store.put_if_absent("x", b""),
        lambda: store.replace("x", b"", etag=""),
        lambda: store.put_chunks("x", [b""]),
        lambda: store.delete("x"),
        store.check_writable,
    ):
        with pytest.raises(ReleaseError, match="only read"):
            act()


def test_a_store_travels_as_its_address() -> None:
    store = open_store("gs://lab/r", endpoint_url="http://127.0.0.1:9")
    arrived = pickle.loads(pickle.dumps(store))
    assert isinstance(arrived, WebStore)
    assert arrived.place == store.place  # type: ignore[attr-defined]
    assert arrived.words == ("gs://lab/r", "--endpoint-url", "http://127.0.0.1:9")
