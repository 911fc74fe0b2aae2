"""A site served to this machine alone, at an address that no other page and no other user knows."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import webbrowser
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from ray_jobs.errors import JobError
from ray_jobs.viewing.site import Content, Site, WrongAskedError

HOST = "127.0.0.1"
MOST_ASKED_BYTES = 1 << 16
SILENT_SECONDS = 60.0  # of a browser that keeps a connection open
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address has the secret
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Serves `site` below a secret part of the address.

    Args:
        port: of this machine; 0 for a free one.

    Raises:
        JobError: another program has the port.
    """

    daemon_threads = True

    def __init__(self, site: Site, port: int = 0) -> None:
        self.site, self.secret = site, secrets.token_urlsafe(12)
        try:
            super().__init__((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise JobError(
                f"--port {port}: {reason}; give another, or none for one that is free"
            ) from error

    @property
    def hosts(self) -> tuple[str, ...]:
        """As a browser on this machine may call it."""
        return (f"{HOST}:{self.server_port}", f"localhost:{self.server_port}")

    @property
    def url(self) -> str:
        """Of the first page."""
        first = "" if self.site.first == "index.html" else self.site.first
        return f"http://{self.hosts[0]}/{self.secret}/{first}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that left is no error; any other is told in a line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"brainpress view: {type(error).__name__}: {error}", file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = SILENT_SECONDS

    def do_GET(self) -> None:
        self._get(body=True)

    def do_HEAD(self) -> None:
        self._get(body=False)

    def do_POST(self) -> None:
        key = self._key()
        if key is None:
            return
        if not self._of_our_page():
            self._refuse(HTTPStatus.FORBIDDEN, "asked from another page")
            return
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= MOST_ASKED_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too much asked at once")
            return
        try:
            asked = json.loads(self.rfile.read(length))
            if not isinstance(asked, dict):
                raise WrongAskedError("expected a JSON object")
            answer = self.server.site.answer(key, asked)
        except (WrongAskedError, ValueError, RecursionError) as error:
            self._json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
            return
        if answer is None:
            self._refuse(HTTPStatus.NOT_FOUND, "nothing here answers")
        else:
            self._json(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the user's."""

    def _get(self, *, body: bool) -> None:
        key = self._key()
        if key is None:
            return
        content = self.server.site.get(key or self.server.site.first)
        if content is None:
            self._refuse(HTTPStatus.NOT_FOUND, "no such file")
            return
        with content.stream:
            self._send(content, body=body)

    def _send(self, content: Content, *, body: bool) -> None:
        """All of it, or the one range that is asked for."""
        asked = self.headers.get("Range")
        start, stop, status = 0, content.size, HTTPStatus.OK
        if asked is not None and (found := _range(asked, content.size)) is not None:
            (start, stop), status = found, HTTPStatus.PARTIAL_CONTENT
            if start >= stop:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self._end({"Content-Range": f"bytes */{content.size}", "Content-Length": "0"})
                return
        told = {
            "Content-Type": content.media,
            "Content-Length": str(stop - start),
            "Accept-Ranges": "bytes",
        }
        if status is HTTPStatus.PARTIAL_CONTENT:
            told["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
        self.send_response(status)
        self._end(told)
        if not body:
            return
        content.stream.seek(start)
        if stop == content.size:
            shutil.copyfileobj(content.stream, self.wfile)
        else:
            self.wfile.write(content.stream.read(stop - start))

    def _key(self) -> str | None:
        """The key that is asked for; None where it was refused.

        Another name of this machine is that of a page which leads a browser here (DNS rebinding).
        """
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "another name of this machine")
            return None
        path = unquote(urlsplit(self.path).path)
        before = f"/{self.server.secret}/"
        if not path.startswith(before):
            self._refuse(HTTPStatus.NOT_FOUND, "no such page; the whole address is in the terminal")
            return None
        return path.removeprefix(before)

    def _of_our_page(self) -> bool:
        origin = self.headers.get("Origin")
        same = origin is None or origin in {f"http://{host}" for host in self.server.hosts}
        return (
            same
            and self.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
            and self.headers.get_content_type() == "application/json"
        )

    def _json(self, document: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        data = json.dumps(document, allow_nan=False).encode()
        self.send_response(status)
        self._end({"Content-Type": "application/json", "Content-Length": str(len(data))})
        self.wfile.write(data)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        """A line, and the end of the connection: what else came on it was not read."""
        data = f"{why}\n".encode()
        self.close_connection = True
        self.send_response(status)
        told = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(data))}
        self._end({**told, "Connection": "close"})
        if self.command != "HEAD":
            self.wfile.write(data)

    def _end(self, headers: dict[str, str]) -> None:
        for name, text in {**_HEADERS, **headers}.items():
            self.send_header(name, text)
        self.end_headers()

    def version_string(self) -> str:
        return "brainpress"


def serve(site: Site, *, port: int = 0, browser: bool = True) -> int:
    """Serve until Ctrl-C, in a browser where there is one; the exit code.

    Raises:
        JobError: another program has the port.
    """
    with Server(site, port) as server, suppress(KeyboardInterrupt):
        print(f"at {server.url}", flush=True)
        if "SSH_CONNECTION" in os.environ:
            there = f"{server.server_port}:{server.hosts[0]}"
            print(f"from your own machine: ssh -L {there} {os.uname().nodename}", flush=True)
        print("Ctrl-C ends it", flush=True)
        if browser and has_browser():
            webbrowser.open(server.url)
        server.serve_forever()
    return 0


def has_browser() -> bool:
    """Whether a browser with a window can be opened, and not one that takes this terminal."""
    windows = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return windows or "BROWSER" in os.environ or sys.platform in ("darwin", "win32")


def _range(asked: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one behind the last; None where it is not one range of bytes."""
    unit, _, text = asked.partition("=")
    first, dash, last = text.partition("-")
    digits = [part for part in (first, last) if part]
    if unit.strip() != "bytes" or not dash or not digits or "," in text:
        return None
    if not all(part.strip().isdecimal() and len(part) < 20 for part in digits):
        return None
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
