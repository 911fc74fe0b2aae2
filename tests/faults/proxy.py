"""An S3 server's bad days: a proxy before a real one that breaks requests, by chance and a seed."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from manifests.storage.s3.connection import READ_TIMEOUT_SECONDS

REFUSALS = {
    "500 InternalError": (500, "InternalError"),
    "503 SlowDown": (503, "SlowDown"),
}
# Each may strike a request; some only where there is a body to cut.
KINDS = (
    *REFUSALS,
    "hung up before the server was asked",
    "answer lost after the server did it",
    "upload cut short",
    "download cut short",
)
SILENT = "no answer for longer than the client waits"
HOP = {"connection", "transfer-encoding", "expect", "keep-alive"}


class Server(ThreadingHTTPServer):
    """Whose queue of connections takes a whole pool of clients at once."""

    request_queue_size = 128
    daemon_threads = True


class FaultyProxy:
    """Passes requests to `endpoint` as they are, Host header and signature included.

    Args:
        endpoint: the real server.
        seed: of the chance.
        port: to listen on; 0 takes a free one.

    Attributes:
        rate: chance that a request is struck.
        kinds: in which ways.
        silent: how many requests are still to be left without any answer.
        faults: how often each kind struck.
    """

    def __init__(self, endpoint: str, *, seed: int = 0, rate: float = 0.0, port: int = 0) -> None:
        self.upstream = urlsplit(endpoint).netloc
        self.rate, self.silent = rate, 0
        self.kinds: Sequence[str] = KINDS
        self.faults: Counter[str] = Counter()
        self.requests = 0
        self._chance, self._lock = random.Random(seed), threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 120

            def handle_one_request(self) -> None:
                with suppress(ConnectionError, TimeoutError):
                    super().handle_one_request()

            def log_message(self, *words: object) -> None:
                pass

            def _pass(self) -> None:
                proxy.serve(self)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request, or do to it what chance says."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        kind = self._draw(request.command, bool(body))
        request.close_connection = True
        if kind == SILENT:
            time.sleep(READ_TIMEOUT_SECONDS + 5)
            return
        if kind in REFUSALS:
            status, code = REFUSALS[kind]
            text = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
            request.send_response(status)
            request.send_header("Content-Type", "application/xml")
            request.send_header("Content-Length", str(len(text)))
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(text)
            return
        if kind == "hung up before the server was asked":
            return
        try:
            answer, data = self._ask(request, body, cut=kind == "upload cut short")
        except (OSError, http.client.HTTPException):
            return  # the server is away: the client sees a connection that ends
        if kind in ("answer lost after the server did it", "upload cut short"):
            return
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                request.send_header(name, value)
        if answer.getheader("Content-Length") is None:
            request.send_header("Content-Length", str(len(data)))
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(data[: len(data) // 2] if kind == "download cut short" else data)

    def _ask(
        self, request: BaseHTTPRequestHandler, body: bytes, *, cut: bool
    ) -> tuple[http.client.HTTPResponse, bytes]:
        upstream = http.client.HTTPConnection(self.upstream, timeout=90)
        try:
            upstream.putrequest(
                request.command, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                if name.lower() not in HOP:
                    upstream.putheader(name, value)
            upstream.endheaders()
            if cut:
                upstream.send(body[: len(body) // 2])
                assert upstream.sock is not None
                upstream.sock.shutdown(socket.SHUT_WR)
            elif body:
                upstream.send(body)
            answer = upstream.getresponse()
            return answer, answer.read()
        finally:
            upstream.close()

    def _draw(self, command: str, has_body: bool) -> str:
        with self._lock:
            self.requests += 1
            if self.silent and command == "PUT":
                self.silent -= 1
                kind = SILENT
            elif self._chance.random() < self.rate:
                kind = self._chance.choice(self.kinds)
            else:
                return ""
            if kind == "upload cut short" and not has_body:
                return ""
            if kind == "download cut short" and command != "GET":
                return ""
            self.faults[kind] += 1
            return kind


def shown(faults: Mapping[str, int]) -> str:
    """`12 x 500 InternalError, 9 x 503 SlowDown`"""
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(faults.items()))
