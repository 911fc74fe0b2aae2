"""Real web servers for the tests, each of a folder: plain, with ranges, as the Hub, as Azure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import md5
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass(kw_only=True)
class WebServer:
    """A server of a folder.

    Attributes:
        url: of the folder.
        requests: method, path and range of all that was asked, in order.
    """

    url: str
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)


class Plain(SimpleHTTPRequestHandler):
    """`python -m http.server`: whole files, with their date, no tags, no ranges."""

    protocol_version = "HTTP/1.1"
    base: ClassVar[str] = ""
    asked: list[tuple[str, str, str | None]]

    def __init__(self, *args: Any, asked: list[tuple[str, str, str | None]], **more: Any) -> None:
        self.asked = asked
        super().__init__(*args, **more)

    def log_request(self, *_: Any) -> None:
        self.asked.append((self.command, self.path, self.headers.get("Range")))

    def log_message(self, *_: Any) -> None: ...


class Ranged(Plain):
    """What nginx, Apache and CDNs do: ranges, and tags; packed files said to be packed."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        data = path.read_bytes()
        wanted, whole = self.headers.get("Range"), len(data)
        if wanted is None:
            self.send_response(HTTPStatus.OK)
        else:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, whole - int(last))
            end = min(int(last), whole - 1) if first and last else whole - 1
            if start >= whole:
                self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                return
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Range", f"bytes {start}-{end}/{whole}")
            tag, data = self.tag(data), data[start : end + 1]
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.send_header("ETag", self.tag(data) if wanted is None else tag)
        if path.name.endswith(".gz"):
            self.send_header("Content-Encoding", "x-gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.send_body(data)

    def tag(self, data: bytes) -> str:
        return f'W/"{md5(data).hexdigest()}"'

    def send_body(self, data: bytes) -> None:
        self.wfile.write(data)


class Hub(Ranged):
    """As the Hub resolves a dataset's files: sent on to another address, which has the bytes."""

    base = "/datasets/lab/brains/resolve/main"

    def do_GET(self) -> None:
        if self.path.startswith(f"{self.base}/"):
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", f"/cdn{self.path.removeprefix(self.base)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/cdn/"):
            self.path = self.path.removeprefix("/cdn")
            super().do_GET()
        else:
            self.send_error(HTTPStatus.UNAUTHORIZED)


class Azure(Ranged):
    """The requests of Azure's blobs by which a public container is read and listed."""

    base = "/account/brains"

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == self.base and "comp=list" in asked.query:
            self._list(parse_qs(asked.query).get("prefix", [""])[0])
            return
        if not asked.path.startswith(f"{self.base}/"):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.path = asked.path.removeprefix(self.base)
        super().do_GET()

    def _list(self, prefix: str) -> None:
        root = Path(self.translate_path("/"))
        found = sorted(p for p in root.rglob("*") if p.is_file())
        date = self.date_time_string()
        blobs = "".join(
            f"<Blob><Name>{escape(p.relative_to(root).as_posix())}</Name><Properties>"
            f"<Last-Modified>{date}</Last-Modified><Etag>{p.stat().st_mtime_ns}</Etag>"
            f"<Content-Length>{p.stat().st_size}</Content-Length>"
            "<Content-Type>application/octet-stream</Content-Type></Properties></Blob>"
            for p in found
            if p.relative_to(root).as_posix().startswith(unquote(prefix))
        )
        text = f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>"
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that has read enough hangs up; that is no fault."""


@contextmanager
def serving(folder: Path, handler: type[Plain] = Ranged) -> Iterator[WebServer]:
    """The folder, served on a free port of this machine while it is used."""
    asked: list[tuple[str, str, str | None]] = []
    answer = partial(handler, directory=str(folder), asked=asked)
    with Quiet(("127.0.0.1", 0), answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield WebServer(url=f"http://127.0.0.1:{server.server_port}", requests=asked)
        server.shutdown()
        thread.join()
