"""One file over HTTP into a partial file that a later attempt can go on with.

Built on the standard library's client: it has no versions to follow, and every decision a download depends on
(which redirects to follow, what a short body means, when to give up) is made here, in sight.
"""

import errno
import json
import os
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import Request

from triscale.storage import write_text

Report = Callable[[int, int | None], None]
"""Called with the bytes on disk and the bytes in all, where the server says."""

CHUNK = 1 << 18
"""Bytes asked of the socket at once."""
SPARE_DISK = 16 << 20
"""Bytes that a download leaves free."""
PROGRESS = 1 << 20
"""Bytes of new ground after which the count of failed attempts starts again."""
REDIRECTS = 8

_WORTH_ANOTHER_ATTEMPT = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(OSError, ValueError):
    """A file that could not be fetched; one line says which, why, and where it helps, what to do."""


class NotThereError(DownloadError):
    """The server has no such file, or gives it to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a download waits and how often it tries again."""

    timeout_s: float = 30.0
    """Without a byte for this long, the connection counts as dropped."""
    slowest: float = 512.0
    """Bytes a second, averaged over `window_s`; below it the connection counts as dropped."""
    window_s: float = 60.0
    pauses_s: tuple[float, ...] = (0.5, 2.0, 5.0, 10.0)
    """Waits between attempts that got nowhere: one more attempt than waits."""
    longest_pause_s: float = 60.0
    """Bound on the wait that a busy server may ask for."""


class _Dropped(Exception):
    """The transfer broke in a way that another attempt may mend."""

    def __init__(self, reason: str, *, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class Partial:
    """The part of a file that has arrived, and beside it which version of the file it is a part of."""

    path: Path

    @property
    def _note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def validator(self) -> str | None:
        """What the server called this version; None where nothing can be resumed."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        validator = note.get("validator") if isinstance(note, dict) else None
        safe = isinstance(validator, str) and validator.isascii() and validator.isprintable()
        return validator if safe and self.size else None

    def restart(self, validator: str | None) -> None:
        """Forget what has arrived; the next bytes belong to the version called `validator`."""
        self.remove()
        self.path.touch()
        if validator is not None:
            write_text(self._note, json.dumps({"validator": validator}))

    def remove(self) -> None:
        """Leave nothing behind."""
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def _bad_redirect(url: str, target: str) -> DownloadError:
    return DownloadError(f"{url} redirects to {target!r}, which is not followed")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows http and https only, and never from https back to http."""

    max_redirections = REDIRECTS
    max_repeats = 2

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme.lower()
        if scheme not in ("http", "https") or (scheme == "http" and req.type == "https"):
            raise _bad_redirect(req.full_url, newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Only what http needs: the default opener would also read `file:`, `ftp:` and `data:`."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _retry_after_s(asked: str, patience: Patience) -> float:
    return min(float(asked), patience.longest_pause_s) if asked.isascii() and asked.isdigit() else 0.0


def _status_error(url: str, error: urllib.error.HTTPError, patience: Patience) -> Exception:
    if error.code in _WORTH_ANOTHER_ATTEMPT:
        pause_s = _retry_after_s(error.headers.get("Retry-After", ""), patience)
        return _Dropped(f"the server answered {error.code}", pause_s=pause_s)
    if 300 <= error.code < 400:
        if urlsplit(location := error.headers.get("Location", "")).scheme not in ("", "http", "https"):
            return _bad_redirect(url, location)
        return DownloadError(f"{url} redirects in circles or too often")
    reasons = {401: "it needs a login", 404: "there is no such file", 410: "it was taken down"}
    kind = NotThereError if error.code in (403, 404, 410) else DownloadError  # file stores say 403 for 404
    return kind(f"{url}: {reasons.get(error.code, 'the server refuses it')} (HTTP {error.code})")


def _connection_error(url: str, reason: object) -> Exception:
    host = urlsplit(url).hostname
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(f"{url}: the certificate of {host} cannot be verified ({reason.verify_message})")
    if isinstance(reason, socket.gaierror):
        return DownloadError(f"{url}: no network, or there is no host {host}")
    if isinstance(reason, ConnectionRefusedError):
        return DownloadError(f"{url}: {host} accepts no connections")
    if isinstance(reason, OSError) and reason.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return DownloadError(f"{url}: no network, or {host} is out of reach")
    timed_out = isinstance(reason, TimeoutError)
    return _Dropped("the connection timed out" if timed_out else f"no connection ({reason})")


def _open(url: str, partial: Partial, patience: Patience) -> HTTPResponse:
    headers = {"User-Agent": "triscale", "Accept-Encoding": "identity"}
    if (validator := partial.validator()) is not None:
        headers |= {"Range": f"bytes={partial.size}-", "If-Range": validator}
    request = Request(url, headers=headers)
    try:
        response: HTTPResponse = _opener().open(request, timeout=patience.timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            partial.remove()
            raise _Dropped("the file on the server changed") from None
        raise _status_error(url, error, patience) from None
    except urllib.error.URLError as error:
        raise _connection_error(url, error.reason) from None
    except DownloadError:
        raise
    except (HTTPException, OSError) as error:
        raise _connection_error(url, error) from None
    return response


def _strong_validator(headers: HTTPMessage) -> str | None:
    """The entity tag, or the date; a weak tag may stay equal while bytes change."""
    tag = headers.get("ETag")
    return tag if tag and tag.startswith('"') else headers.get("Last-Modified")


def _start(url: str, response: HTTPResponse, partial: Partial) -> tuple[int, int | None]:
    """Where the body of `response` goes in the file, and the size of the whole; prepares `partial` for it."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"{url} arrives compressed although it was asked for as it is")
    length = response.length
    if response.status == 206:
        span, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if span.partition("-")[0] != str(partial.size) or not whole.isdigit():
            partial.remove()
            raise _Dropped("the server sent another part than it was asked for")
        return partial.size, int(whole)
    if response.status != 200:
        raise DownloadError(f"{url}: the server answered {response.status} instead of a file")
    partial.restart(_strong_validator(response.headers))
    return 0, length


def _chunks(response: HTTPResponse, patience: Patience) -> Iterator[bytes]:
    window_began_s, window_bytes = time.monotonic(), 0
    try:
        while chunk := response.read1(CHUNK):
            yield chunk
            window_bytes += len(chunk)
            elapsed_s = time.monotonic() - window_began_s
            if elapsed_s > patience.window_s:
                if window_bytes < patience.slowest * elapsed_s:
                    raise _Dropped(f"the server sent only {window_bytes / elapsed_s:.0f} bytes a second")
                window_began_s, window_bytes = time.monotonic(), 0
    except TimeoutError:
        raise _Dropped(f"the server sent nothing for {patience.timeout_s:g} s") from None
    except (HTTPException, OSError) as error:
        raise _Dropped(f"the connection broke ({str(error) or type(error).__name__})") from None


def _check_room(url: str, folder: Path, *, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_DISK > free:
        raise DownloadError(f"{url} needs {needed >> 20} MiB in {folder}, where {free >> 20} MiB are free")


def _write_all(file: IO[bytes], chunk: bytes, *, url: str, partial: Partial) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        # A full disk is no dropped connection: what was written goes, so that the disk is usable again.
        partial.remove()
        raise DownloadError(f"{url}: cannot write {partial.path.parent}: {error.strerror}") from None


def _receive(url: str, partial: Partial, *, report: Report, largest: int, patience: Patience) -> None:
    """One attempt: bytes are appended to `partial` until the file is whole, and reach the disk."""
    with _open(url, partial, patience) as response:
        position, total = _start(url, response, partial)
        if total is not None and total > largest:
            partial.remove()
            raise DownloadError(f"{url} has {total} bytes, at most {largest} are downloaded")
        _check_room(url, partial.path.parent, needed=(total or position) - position)
        with partial.path.open("ab", buffering=0) as file:
            for chunk in _chunks(response, patience):
                _write_all(file, chunk, url=url, partial=partial)
                position += len(chunk)
                if position > largest:
                    partial.remove()
                    raise DownloadError(f"{url} has over {largest} bytes, at most {largest} are downloaded")
                report(position, total)
            os.fsync(file.fileno())
    if total is not None and position != total:
        if position > total:
            partial.remove()
        raise _Dropped(f"{position} of {total} bytes arrived")


def transfer(url: str, partial: Partial, *, report: Report, largest: int, patience: Patience) -> None:
    """Fetch `url` into `partial`, going on where an earlier attempt broke, until it is whole.

    Raises DownloadError where trying again would not help, or did not.
    """
    failures, furthest = 0, partial.size
    while True:
        try:
            return _receive(url, partial, report=report, largest=largest, patience=patience)
        except _Dropped as error:
            # Bounded even where the server cannot resume: only new ground counts as progress.
            failures = 1 if partial.size >= furthest + PROGRESS else failures + 1
            furthest = max(furthest, partial.size)
            if failures > len(patience.pauses_s):
                raise DownloadError(f"{url}: {error}; gave up after {failures} attempts") from None
            time.sleep(max(patience.pauses_s[failures - 1], error.pause_s))
