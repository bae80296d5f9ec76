"""Files from plain addresses, kept in a cache: whole and verified, or not there at all."""

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from triscale.download.transfer import DownloadError, NotThereError, Partial, Patience, Report, transfer

LARGEST_FILE = 4 << 30
"""Bytes; the largest released weights (EfficientNet-L2) take 1.9 GB."""
QUIET_S = 2.0
"""A download that takes no longer shows no bar."""

__all__ = [
    "LARGEST_FILE",
    "DownloadError",
    "NotThereError",
    "Patience",
    "Report",
    "cache_folder",
    "cached_path",
    "download",
]


def cache_folder() -> Path:
    """Where downloads are kept: `TRISCALE_CACHE`, or `triscale` in `XDG_CACHE_HOME` or in `~/.cache`."""
    if chosen := os.environ.get("TRISCALE_CACHE"):
        return Path(chosen).expanduser()
    # The XDG specification says that a relative path is to be ignored.
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "")
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "triscale"


def cached_path(url: str, *, cache_dir: Path | None = None) -> Path:
    """Where `download` keeps the file of `url`, whether it is there yet or not; equal names never collide.

    Raises ValueError for anything but a plain http or https address.
    """
    _check_url(url)
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    return (cache_dir or cache_folder() / "downloads") / f"{digest}-{_readable_name(url)}"


def _readable_name(url: str) -> str:
    """The last part of the address's path, with nothing in it that a file system could take amiss."""
    last = unquote(urlsplit(url).path).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", last).lstrip(".")[-80:] or "file"


def _check_url(url: str) -> None:
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError(f"{url!r} is no address: percent-encode whatever is not plain ASCII")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no web address; only http:// and https:// are downloaded")
    if parts.username is not None:
        raise ValueError(f"the address at {parts.hostname} carries a user name; use one without")


def _check_sha256(sha256: str | None) -> str:
    if sha256 is None:
        return ""
    if not re.fullmatch(r"[0-9a-fA-F]{8,64}", sha256):
        raise ValueError(f"sha256 must be 8 to 64 hexadecimal digits, got {sha256!r}")
    return sha256.lower()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and (not sha256 or _sha256(path).startswith(sha256))


@contextmanager
def _bar(name: str) -> Iterator[Report]:
    """A progress bar on standard error, once the download has taken `QUIET_S`; none where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task, began_s = bar.add_task("download", total=None), time.monotonic()

    def report(done: int, total: int | None) -> None:
        bar.update(task, completed=done, total=total)
        if time.monotonic() - began_s > QUIET_S:
            bar.start()

    try:
        yield report
    finally:
        bar.stop()


def download(
    url: str,
    *,
    cache_dir: Path | None = None,
    sha256: str | None = None,
    progress: Report | None = None,
    largest: int = LARGEST_FILE,
    patience: Patience | None = None,
) -> Path:
    """The file at `url`, from the cache where it is there already, else fetched, verified and moved there.

    A broken connection is resumed, in this call and in the next. Processes that ask for the same file wait
    for one another. `sha256` is the digest or its first digits; `progress` is called with bytes so far and in all,
    and replaces the bar on a terminal; files over `largest` bytes are refused.
    Raises ValueError for what is no web address or digest, and DownloadError (an OSError and a ValueError)
    for whatever goes wrong on the way.
    """
    expected, target = _check_sha256(sha256), cached_path(url, cache_dir=cache_dir)
    if _is_whole(target, expected):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(target.name + ".lock"))
        with lock:
            if not _is_whole(target, expected):
                with _bar(_readable_name(url)) if progress is None else nullcontext(progress) as report:
                    waits = patience or Patience()
                    _fetch(url, target, expected, report=report, largest=largest, patience=waits)
    except DownloadError:
        raise
    except OSError as error:
        place, reason = error.filename or target, error.strerror or error
        raise DownloadError(f"{url}: cannot write {place}: {reason}") from None
    return target


def _fetch(url: str, target: Path, sha256: str, *, report: Report, largest: int, patience: Patience) -> None:
    partial = Partial(target.with_name(target.name + ".partial"))
    resumed = partial.validator() is not None
    transfer(url, partial, report=report, largest=largest, patience=patience)
    actual = _sha256(partial.path) if sha256 else ""
    if not actual.startswith(sha256) and resumed:
        # The part left by an earlier run may have been damaged since; the server gets one chance without it.
        partial.remove()
        transfer(url, partial, report=report, largest=largest, patience=patience)
        actual = _sha256(partial.path)
    if not actual.startswith(sha256):
        partial.remove()
        raise DownloadError(f"{url} arrived wrong and was deleted: its sha256 is {actual}, expected {sha256}")
    partial.path.replace(target)
    partial.remove()
