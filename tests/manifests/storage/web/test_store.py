"""What is read from real web servers: right whatever they know of ranges and tags, or one line."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from manifests.errors import ReleaseError, StorageError
from manifests.storage import open_store
from manifests.storage.base import ChangedError, TooLargeError
from tests.ports import free_ports
from tests.web_servers import Azure, Hub, Plain, Ranged, WebServer, serving

DATA = {"a.json": b"{}", "b/big.nii.gz": os.urandom(900_000), "b/none": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for key, data in DATA.items():
        path = tmp_path / "site" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "site"


@pytest.fixture(params=[Plain, Ranged])
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[WebServer]:
    with serving(folder, request.param) as server:
        yield server


def test_objects_are_read_whole_and_in_pieces(server: WebServer) -> None:
    store = open_store(server.url)
    for key, data in DATA.items():
        assert store.get(key) == data
        assert b"".join(store.get_chunks(key)) == data
        found = store.look(key)
        assert found is not None
        assert (found.key, found.size) == (key, len(data))
        with store.open(key) as file:
            assert file.read() == data
    for key in ("nothing", "b/nothing"):
        assert store.look(key) is None
        with pytest.raises(KeyError):
            store.get(key)
        with pytest.raises(KeyError):
            list(store.get_chunks(key))
        with pytest.raises(KeyError):
            store.open(key)
    with pytest.raises(TooLargeError, match="expected at most 5"):
        store.get("b/big.nii.gz", most=5)
    with pytest.raises(TooLargeError):
        list(store.get_chunks("b/big.nii.gz", most=5))
    with pytest.raises(ReleaseError, match="no key of a release"):
        store.get("../site/a.json")


def test_only_the_ranges_that_are_read_are_fetched(folder: Path) -> None:
    with serving(folder, Ranged) as server, open_store(server.url).open("b/big.nii.gz") as file:
        file.seek(-8, os.SEEK_END)
        assert file.read() == DATA["b/big.nii.gz"][-8:]
        assert [asked for _, _, asked in server.requests] == ["bytes=0-0", "bytes=899992-899999"]


def test_of_a_server_without_ranges_a_file_is_fetched_once(folder: Path) -> None:
    with serving(folder, Plain) as server, open_store(server.url).open("b/big.nii.gz") as file:
        for start in (899_992, 10, 500_000):
            file.seek(start)
            assert file.read(8) == DATA["b/big.nii.gz"][start : start + 8]
        assert [asked for _, _, asked in server.requests] == ["bytes=0-0"]


@pytest.mark.parametrize("handler", [Plain, Ranged])
def test_what_breaks_off_is_gone_on_with(folder: Path, handler: type[Plain]) -> None:
    class Breaking(handler):  # type: ignore[misc, valid-type]
        """Ends every third answer after half its bytes."""

        answers = 0

        def copyfile(self, source: object, outputfile: object) -> None:
            self.send_body(source.read())  # type: ignore[attr-defined]

        def send_body(self, data: bytes) -> None:
            type(self).answers += 1
            broken = type(self).answers % 3 == 1 and len(data) > 1
            self.wfile.write(data[: len(data) // 2] if broken else data)
            self.close_connection = broken

    with serving(folder, Breaking) as server:
        store = open_store(server.url)
        assert b"".join(store.get_chunks("b/big.nii.gz")) == DATA["b/big.nii.gz"]
        assert store.get("b/big.nii.gz") == DATA["b/big.nii.gz"]
        with store.open("b/big.nii.gz") as file:
            assert file.read() == DATA["b/big.nii.gz"]
    assert Breaking.answers > 3


def test_a_file_that_is_changed_between_two_ranges_is_told(folder: Path) -> None:
    with serving(folder, Ranged) as server, open_store(server.url).open("b/big.nii.gz") as file:
        assert file.read(10) == DATA["b/big.nii.gz"][:10]
        (folder / "b/big.nii.gz").write_bytes(os.urandom(900_000))
        file.seek(500_000)
        with pytest.raises(ChangedError, match="was changed while it was being read"):
            file.read(10)


def test_a_web_server_does_not_list(server: WebServer) -> None:
    with pytest.raises(ReleaseError, match="a web server does not list its files"):
        list(open_store(server.url).list())


def test_the_hub_sends_on_and_is_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(folder, Hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        store = open_store("hf://datasets/lab/brains")
        with store.open("b/big.nii.gz") as file:
            file.seek(5)
            assert file.read(3) == DATA["b/big.nii.gz"][5:8]
        with pytest.raises(StorageError, match=r"\(401\).*not public, or it is not there"):
            open_store("hf://datasets/lab/others").get("a.json")


def test_a_container_is_listed(folder: Path) -> None:
    with serving(folder, Azure) as server:
        endpoint = f"{server.url}/account"
        store = open_store("az://brains", endpoint_url=endpoint)
        assert [(e.key, e.size) for e in store.list()] == [(k, len(d)) for k, d in DATA.items()]
        assert [e.key for e in store.list("b/b")] == ["b/big.nii.gz"]
        below = open_store("az://brains/b", endpoint_url=endpoint)
        assert [e.key for e in below.list()] == ["big.nii.gz", "none"]
        assert below.get("big.nii.gz") == DATA["b/big.nii.gz"]


def answering(status: HTTPStatus, **headers: str) -> type[Plain]:
    class Answer(Plain):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

    return Answer


@pytest.mark.parametrize(
    ("status", "headers", "exit_code", "line"),
    [
        (403, {"Content_Length": "0"}, 2, "refuses it to everyone (403)"),
        (401, {"Content_Length": "0"}, 2, "refuses it to everyone (401)"),
        (301, {"Content_Length": "0"}, 2, "says that it lies elsewhere, and not where"),
        (206, {"Content_Length": "0"}, 1, "answered 206"),
        (418, {"Content_Length": "0"}, 1, "answered 418"),
        (500, {"Content_Length": "0"}, 1, "answered 500; run the same command again later"),
    ],
)
def test_a_refusal_is_told_in_one_line(
    folder: Path,
    status: int,
    headers: dict[str, str],
    exit_code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("manifests.storage.web.http.RETRIES", 1)
    with serving(folder, answering(HTTPStatus(status), **headers)) as server:
        with pytest.raises(ReleaseError) as caught:
            open_store(server.url).get("a.json")
        said = str(caught.value)
        assert said.startswith(f"cannot read {server.url}/a.json: ")
    assert line in said
    assert "\n" not in said
    assert caught.value.exit_code == exit_code


def test_a_server_that_does_not_tell_how_long_its_files_are_is_read(folder: Path) -> None:
    class Chunked(Plain):
        def copyfile(self, source: object, outputfile: object) -> None:
            while data := source.read(100_000):  # type: ignore[attr-defined]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")

        def send_header(self, keyword: str, value: str) -> None:
            told = keyword == "Content-Length"
            super().send_header(*("Transfer-Encoding", "chunked") if told else (keyword, value))

    with serving(folder, Chunked) as server:
        store = open_store(server.url)
        assert store.get("b/big.nii.gz") == DATA["b/big.nii.gz"]
        with store.open("b/big.nii.gz") as file:
            assert file.read() == DATA["b/big.nii.gz"]
        with pytest.raises(TooLargeError):
            store.get("b/big.nii.gz", most=800_000)


def test_a_server_that_is_busy_is_asked_again(folder: Path) -> None:
    class Busy(Ranged):
        asked_before = False

        def do_GET(self) -> None:
            if type(self).asked_before:
                super().do_GET()
                return
            type(self).asked_before = True
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)

    with serving(folder, Busy) as server:
        assert open_store(server.url).get("a.json") == DATA["a.json"]


def test_a_proxy_is_used_as_the_environment_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Proxy(Ranged):
        def do_GET(self) -> None:
            self.path = self.path.removeprefix("http://brains.invalid")
            super().do_GET()

    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(folder, Proxy) as server:
        monkeypatch.setenv("http_proxy", server.url)
        assert open_store("http://brains.invalid").get("a.json") == DATA["a.json"]
        monkeypatch.setenv("no_proxy", "brains.invalid")
        monkeypatch.setattr("manifests.storage.web.http.RETRIES", 0)
        with pytest.raises(StorageError, match=r"no answer from http://brains\.invalid"):
            open_store("http://brains.invalid").get("a.json")


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_process_that_was_forked_reads_too(server: WebServer) -> None:
    store = open_store(server.url)
    assert store.get("a.json") == DATA["a.json"]
    child = os.fork()
    if child == 0:
        os._exit(0 if store.get("b/big.nii.gz") == DATA["b/big.nii.gz"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_server_that_is_away_is_told_soon() -> None:
    (port,) = free_ports(1)
    started = time.monotonic()
    with pytest.raises(StorageError, match="no answer from") as caught:
        open_store(f"http://127.0.0.1:{port}/r").get("a.json")
    assert caught.value.exit_code == 1
    assert time.monotonic() - started < 30
