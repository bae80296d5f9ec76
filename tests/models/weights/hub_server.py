"""A small Hugging Face Hub on loopback whose files misbehave as told.

It answers as the hub does: small files directly, with git's checksum as their ETag; large ones by a redirect to
another host, with their sha256 beside it. The addresses and headers are those that huggingface_hub reads.
"""

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34
MAIN = "main"


@dataclass
class Stored:
    """One file of a repository, and what goes wrong with it."""

    body: bytes
    large: bool = False
    """Stored outside git, as weights are."""
    drops: list[int] = field(default_factory=list)
    """Each answer is cut after so many bytes of body, first entry first, until the list is used up."""
    corrupt: bool = False
    """Sends other bytes than the checksum is of, as many."""

    @property
    def checksum(self) -> str:
        """As the hub states it."""
        if self.large:
            return hashlib.sha256(self.body).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.body) + self.body).hexdigest()


@dataclass
class Request:
    """What the server was asked."""

    method: str
    path: str
    range: str | None


class HubServer:
    """`files` by repository and name; `refused` repositories with the status and error code of their answers."""

    def __init__(self) -> None:
        self.port = 0
        self.files: dict[tuple[str, str], Stored] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.requests: list[Request] = []

    @property
    def address(self) -> str:
        """For HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage(self) -> str:
        """Where large files lie: another host, as far as names go."""
        return f"http://localhost:{self.port}/storage"

    def put(self, repository: str, name: str, body: bytes, *, large: bool = False) -> Stored:
        """Add a file, or replace it."""
        stored = self.files[repository, name] = Stored(body, large)
        return stored

    def downloads(self) -> list[Request]:
        """Requests for content, not for headers alone."""
        return [request for request in self.requests if request.method == "GET"]

    def find(self, repository: str, revision: str, name: str) -> Stored | tuple[int, str]:
        """The file, or the status and error code of the answer."""
        if repository in self.refused:
            return self.refused[repository]
        if not any(repository == known for known, _ in self.files):
            # The hub does not tell strangers whether a repository is missing or private.
            return 401, "RepoNotFound"
        if revision not in (MAIN, COMMIT):
            return 404, "RevisionNotFound"
        return self.files.get((repository, name)) or (404, "EntryNotFound")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.close_connection = True
        path = self.path.partition("?")[0]
        self.hub.requests.append(Request(self.command, path, self.headers.get("Range")))
        if path.startswith("/storage/"):
            wanted = path.removeprefix("/storage/")
            stored = next(file for file in self.hub.files.values() if file.large and file.checksum == wanted)
            return self._send(stored, {})
        owner, name, resolve, revision, *rest = path.removeprefix("/").split("/")
        assert resolve == "resolve"
        found = self.hub.find(f"{owner}/{name}", revision, "/".join(rest))
        if isinstance(found, tuple):
            status, code = found
            return self._headers(status, {"Content-Length": "0", **({"X-Error-Code": code} if code else {})})
        headers = {"X-Repo-Commit": COMMIT}
        if not found.large:
            return self._send(found, {**headers, "ETag": f'"{found.checksum}"'})
        linked = {"X-Linked-Etag": f'"{found.checksum}"', "X-Linked-Size": str(len(found.body))}
        location = {"Location": f"{self.hub.storage}/{found.checksum}", "Content-Length": "0"}
        return self._headers(302, {**headers, **linked, **location})

    def _headers(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, stored: Stored, headers: dict[str, str]) -> None:
        body = bytes(255 - byte for byte in stored.body) if stored.corrupt else stored.body
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        content = body[start:]
        ranged = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        self._headers(206 if start else 200, {"Content-Length": str(len(content)), **ranged, **headers})
        if self.command == "HEAD":
            return
        end = stored.drops.pop(0) if stored.drops else len(content)
        try:
            self.wfile.write(content[:end])
            self.wfile.flush()
        except OSError:
            return  # The client gave up.
        if end < len(content):
            self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """A hub on a free port of 127.0.0.1, stopped on leaving."""
    hub = HubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
