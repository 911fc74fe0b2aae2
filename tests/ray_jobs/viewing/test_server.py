"""Who may see what a view serves: this machine's user alone, and nothing outside of the folder."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from manifests.storage import open_store
from ray_jobs import cli
from ray_jobs.errors import JobError
from ray_jobs.viewing.server import Server, has_browser
from ray_jobs.viewing.site import StoredSite, WrongAskedError
from tests import ROOT

JSON = {"Content-Type": "application/json"}


class Answering(StoredSite):
    """Says what it was asked."""

    def answer(self, key: str, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        if asked.get("wrong"):
            raise WrongAskedError("that cannot be")
        return {"key": key, "asked": dict(asked)} if key == "ask" else None


class Asked:
    """A server's answer."""

    def __init__(self, server: Server, path: str, method: str = "GET", **how: Any) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request(method, path, **how)
        answer = connection.getresponse()
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()
        connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "shown"
    (folder / "below").mkdir(parents=True)
    (folder / "index.html").write_text("<p>first")
    (folder / "below" / "x.nii.gz").write_bytes(bytes(range(100)))
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret.txt")
    (folder / "away").symlink_to(tmp_path)
    with Server(Answering(open_store(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def test_the_first_page_and_a_range_of_a_file_are_served(server: Server) -> None:
    first = Asked(server, f"/{server.secret}/")
    assert (first.status, first.body) == (200, b"<p>first")
    assert first.headers["Content-Type"] == "text/html; charset=utf-8"
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.secret}/"
    path = f"/{server.secret}/below/x.nii.gz"
    for asked, status, expected in (
        ("bytes=10-19", 206, bytes(range(10, 20))),
        ("bytes=95-", 206, bytes(range(95, 100))),
        ("bytes=-3", 206, bytes(range(97, 100))),
        ("bytes=90-200", 206, bytes(range(90, 100))),
        ("bytes=1-2,5-6", 200, bytes(range(100))),
        ("lines=1-2", 200, bytes(range(100))),
        ("bytes=100-", 416, b""),
    ):
        found = Asked(server, path, headers={"Range": asked})
        assert (found.status, found.body) == (status, expected), asked
    assert found.headers["Content-Range"] == "bytes */100"
    head = Asked(server, path, "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "100")


@pytest.mark.parametrize(
    "path",
    [
        "/{secret}/../secret.txt",
        "/{secret}/%2e%2e/secret.txt",
        "/{secret}/below/..%2f..%2fsecret.txt",
        "/{secret}//etc/passwd",
        "/{secret}/out",
        "/{secret}/away/secret.txt",
        "/{secret}/below",
        "/{secret}/nothing",
        "/{secret}/C:%5Cx",
        "/index.html",
        "/",
        "/guess/index.html",
    ],
)
def test_nothing_outside_of_the_folder_or_without_the_secret_is_served(
    server: Server, path: str
) -> None:
    found = Asked(server, path.format(secret=server.secret))
    assert found.status == 404
    assert found.body[-7:] != b"secret\n"
    assert b"root:" not in found.body


def test_a_page_of_another_name_that_leads_here_sees_nothing(server: Server) -> None:
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1:1"):
        assert Asked(server, f"/{server.secret}/", headers={"Host": host}).status == 403
    local = {"Host": f"localhost:{server.server_port}"}
    assert Asked(server, f"/{server.secret}/", headers=local).status == 200


def test_only_our_own_page_is_answered(server: Server) -> None:
    path, body = f"/{server.secret}/ask", json.dumps({"age": 70})
    own = {"Origin": f"http://127.0.0.1:{server.server_port}", "Sec-Fetch-Site": "same-origin"}
    found = Asked(server, path, "POST", body=body, headers={**JSON, **own})
    assert (found.status, json.loads(found.body)) == (200, {"key": "ask", "asked": {"age": 70}})
    for other in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Content-Type": "text/plain"},
    ):
        assert Asked(server, path, "POST", body=body, headers={**JSON, **other}).status == 403
    assert Asked(server, f"/{server.secret}/other", "POST", body="{}", headers=JSON).status == 404
    assert Asked(server, "/ask", "POST", body=body, headers=JSON).status == 404


@pytest.mark.parametrize("body", ["{", "[]", '{"wrong": 1}', "[" * 5000, "x" * 70_000])
def test_what_cannot_be_is_told_and_nothing_breaks(server: Server, body: str) -> None:
    path = f"/{server.secret}/ask"
    assert Asked(server, path, "POST", body=body, headers=JSON).status in (400, 413)
    assert Asked(server, path, "POST", body="{}", headers=JSON).status == 200


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_told_in_one_line(server: Server) -> None:
    with pytest.raises(JobError, match=rf"--port {server.server_port}: Address already in use"):
        Server(server.site, server.server_port)


def test_a_browser_is_opened_only_where_one_has_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not has_browser()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_browser()


def test_a_place_with_nothing_and_a_wrong_port_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["view", str(tmp_path)]) == 2
    assert cli.main(["view", str(tmp_path), "--port", "70000"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith(f"brainpress view: {tmp_path}: no release there, and no model, ")
    assert "'70000' is no port" in told[1]


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text("{}")
    (tmp_path / "report.html").write_text("<p>report")
    words = [sys.executable, "-m", "ray_jobs.cli", "view", str(tmp_path), "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as view:
        assert view.stdout is not None
        lines = [view.stdout.readline() for _ in range(2)]
        address = lines[1].split()[1]
        assert address.endswith("/report.html")
        port = int(address.split(":")[2].partition("/")[0])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        view.send_signal(signal.SIGINT)
        assert view.wait(timeout=20) == 0
