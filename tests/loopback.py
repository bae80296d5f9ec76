"""A small web server on loopback whose files misbehave as told: what downloads are tested against."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Resource:
    """One file on the server, and what goes wrong with it."""

    body: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    """Whether parts may be asked for."""
    drops: list[int] = field(default_factory=list)
    """Each answer is cut after so many bytes of body, first entry first, until the list is used up."""
    statuses: list[int] = field(default_factory=list)
    """Each answer is this status without a body, first entry first, until the list is used up."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent besides; None as a value leaves a header out."""
    chunk: int = 1 << 16
    pause_s: float = 0.0
    """Before every chunk."""
    declares_length: bool = True
    length_error: int = 0
    """Added to the length that the server declares."""
    location: str | None = None
    """Where the file is said to be instead."""


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    path: str
    range: str | None
    if_range: str | None


class Loopback:
    """`resources` by path; `requests` so far."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.resources: dict[str, Resource] = {}
        self.requests: list[Request] = []

    def url(self, path: str) -> str:
        """The address of `path`."""
        return f"{self.address}/{path}"

    def serve(self, path: str, body: bytes = b"", **settings: object) -> str:
        """Put a file on the server; returns its address."""
        self.resources[f"/{path}"] = Resource(body, **settings)  # type: ignore[arg-type]
        return self.url(path)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: Loopback

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.close_connection = True
        asked = Request(self.path, self.headers.get("Range"), self.headers.get("If-Range"))
        self.loopback.requests.append(asked)
        resource = self.loopback.resources.get(self.path)
        if resource is None:
            self._bare(404)
        elif resource.statuses:
            self._bare(resource.statuses.pop(0), resource.headers)
        elif resource.location is not None:
            self._bare(302, {"Location": resource.location})
        else:
            self._send(resource, asked)

    def _bare(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", "Connection": "close", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, resource: Resource, asked: Request) -> None:
        start = 0
        if resource.ranges and asked.range and asked.if_range in (None, resource.etag):
            start = int(asked.range.removeprefix("bytes=").removesuffix("-"))
            if start >= len(resource.body):
                return self._bare(416)
        body = resource.body[start:]
        self.send_response(206 if start else 200)
        headers = {"Connection": "close"}
        if resource.declares_length:
            headers["Content-Length"] = str(len(body) + resource.length_error)
        if resource.etag:
            headers["ETag"] = resource.etag
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(resource.body) - 1}/{len(resource.body)}"
        for name, value in (headers | resource.headers).items():
            self.send_header(name, value)
        self.end_headers()
        end = resource.drops.pop(0) if resource.drops else len(body)
        try:
            for position in range(0, min(end, len(body)), resource.chunk):
                time.sleep(resource.pause_s)
                self.wfile.write(body[position : min(position + resource.chunk, end)])
            self.wfile.flush()
        except OSError:
            return None  # The client gave up.
        if end < len(body):
            # The handler's own shutdown would do, but a real broken connection does not say goodbye.
            self.connection.shutdown(socket.SHUT_RDWR)
        return None


@contextmanager
def running() -> Iterator[Loopback]:
    """A server on a free port of 127.0.0.1, stopped on leaving."""
    loopback = Loopback("")
    handler = type("Handler", (_Handler,), {"loopback": loopback})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    loopback.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield loopback
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A fresh server, reached without whatever proxy the machine uses."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as server:
        yield server
