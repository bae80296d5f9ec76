import errno
import hashlib
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.loopback import Loopback, loopback
from triscale.download import (
    DownloadError,
    Patience,
    cache_folder,
    cached as download_module,
    cached_path,
    download,
    transfer as transfer_module,
)

__all__ = ["loopback"]

BODY = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
IMPATIENT = Patience(timeout_s=5.0, pauses_s=(0.0, 0.0, 0.0))


def fetch(url: str, folder: Path, *, sha256: str | None = SHA256, patience: Patience = IMPATIENT) -> Path:
    return download(url, cache_dir=folder, sha256=sha256, patience=patience)


def leftovers(folder: Path) -> list[str]:
    """What lies in the cache besides lock files."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_whole_and_is_fetched_once(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("weights/net-v1.pth", BODY)
    path = fetch(url, tmp_path)
    assert path.read_bytes() == BODY
    assert path == cached_path(url, cache_dir=tmp_path)
    assert path.name.endswith("-net-v1.pth")
    assert leftovers(tmp_path) == [path.name]
    assert fetch(url, tmp_path) == path
    assert len(loopback.requests) == 1


@pytest.mark.parametrize("digest", [SHA256, SHA256[:8], SHA256[:12].upper()])
def test_a_digest_or_its_first_digits_are_accepted(loopback: Loopback, tmp_path: Path, digest: str) -> None:
    assert fetch(loopback.serve("a", BODY), tmp_path, sha256=digest).read_bytes() == BODY


def test_equal_file_names_at_different_addresses_do_not_collide(loopback: Loopback, tmp_path: Path) -> None:
    one = fetch(loopback.serve("one/net.pth", b"one"), tmp_path, sha256=None)
    two = fetch(loopback.serve("two/net.pth", b"two"), tmp_path, sha256=None)
    assert (one.read_bytes(), two.read_bytes()) == (b"one", b"two")


def test_an_empty_file_is_a_file(loopback: Loopback, tmp_path: Path) -> None:
    assert fetch(loopback.serve("a", b""), tmp_path, sha256=None).read_bytes() == b""


def test_broken_connections_are_resumed_where_they_broke(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, drops=[100_000, 50_000])
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert [(r.range, r.if_range) for r in loopback.requests] == [
        (None, None),
        ("bytes=100000-", '"one"'),
        ("bytes=150000-", '"one"'),
    ]


def test_the_next_call_resumes_what_the_last_one_gave_up(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, drops=[1000] * 4)
    with pytest.raises(DownloadError, match="4000 of 300000 bytes arrived; gave up after 4 attempts"):
        fetch(url, tmp_path)
    assert not cached_path(url, cache_dir=tmp_path).exists()
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert loopback.requests[-1].range == "bytes=4000-"
    assert leftovers(tmp_path) == [cached_path(url, cache_dir=tmp_path).name]


def test_progress_counts_from_where_it_resumed(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, drops=[100_000])
    seen: list[tuple[int, int | None]] = []
    download(url, cache_dir=tmp_path, patience=IMPATIENT, progress=lambda done, total: seen.append((done, total)))
    positions = [done for done, _ in seen]
    assert positions == sorted(set(positions))
    assert (seen[-1], {total for _, total in seen}) == ((300_000, 300_000), {300_000})


def test_a_server_without_ranges_starts_over(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, ranges=False, drops=[100_000, 200_000])
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert len(loopback.requests) == 3


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_resumed(loopback: Loopback, tmp_path: Path, etag: str | None) -> None:
    url = loopback.serve("a", BODY, etag=etag, drops=[100_000])
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert [request.range for request in loopback.requests] == [None, None]


def test_a_date_does_as_a_validator(loopback: Loopback, tmp_path: Path) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    url = loopback.serve("a", BODY, etag=None, headers={"Last-Modified": date}, drops=[100_000])
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert loopback.requests[1].if_range == date


def test_a_file_that_changed_meanwhile_is_not_glued_together(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", b"old" * 1000, drops=[500] * 4)
    with pytest.raises(DownloadError):
        fetch(url, tmp_path, sha256=None)
    loopback.serve("a", BODY, etag='"two"')
    assert fetch(url, tmp_path, sha256=None).read_bytes() == BODY


def test_a_file_that_shrank_meanwhile_starts_over(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, drops=[1000] * 4)
    with pytest.raises(DownloadError):
        fetch(url, tmp_path)
    loopback.serve("a", b"short")
    assert fetch(url, tmp_path, sha256=None).read_bytes() == b"short"


def test_a_part_of_the_wrong_place_is_refused(loopback: Loopback, tmp_path: Path) -> None:
    lie = {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}"}
    url = loopback.serve("a", BODY, drops=[1000], headers=lie)
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert [request.range for request in loopback.requests] == [None, "bytes=1000-", None]


def test_a_part_damaged_on_disk_is_thrown_away(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, drops=[1000] * 4)
    with pytest.raises(DownloadError):
        fetch(url, tmp_path)
    (partial,) = tmp_path.glob("*.partial")
    partial.write_bytes(b"x" * 4000)
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert [request.range for request in loopback.requests[4:]] == ["bytes=4000-", None]


def test_a_wrong_checksum_leaves_nothing(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY[:-1] + bytes([BODY[-1] ^ 1]))
    with pytest.raises(DownloadError, match=f"arrived wrong and was deleted.*expected {SHA256}"):
        fetch(url, tmp_path)
    assert leftovers(tmp_path) == []
    assert len(loopback.requests) == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY)
    fetch(url, tmp_path).write_bytes(BODY[:1000])
    assert fetch(url, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("length_error", [1, 100_000])
def test_a_body_shorter_than_declared_is_never_a_file(loopback: Loopback, tmp_path: Path, length_error: int) -> None:
    url = loopback.serve("a", BODY, length_error=length_error, ranges=False)
    with pytest.raises(DownloadError, match="bytes arrived; gave up after 4 attempts"):
        fetch(url, tmp_path, sha256=None)
    assert not cached_path(url, cache_dir=tmp_path).exists()


def test_without_a_declared_length_the_checksum_decides(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, declares_length=False)
    assert fetch(url, tmp_path).read_bytes() == BODY
    cut = loopback.serve("b", BODY, declares_length=False, drops=[1000])
    with pytest.raises(DownloadError, match="arrived wrong"):
        fetch(cut, tmp_path)
    assert not cached_path(cut, cache_dir=tmp_path).exists()


def test_a_compressed_answer_is_refused(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, headers={"Content-Encoding": "gzip"})
    with pytest.raises(DownloadError, match="arrives compressed"):
        fetch(url, tmp_path)


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "no such file"), (401, "needs a login"), (403, "refuses"), (451, "refuses"), (204, "answered 204")],
)
def test_final_answers_are_not_tried_again(loopback: Loopback, tmp_path: Path, status: int, message: str) -> None:
    url = loopback.serve("a", statuses=[status] * 9)
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(url, tmp_path)
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []
    assert len(loopback.requests) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_server_is_asked_again(loopback: Loopback, tmp_path: Path, status: int) -> None:
    url = loopback.serve("a", BODY, statuses=[status, status])
    assert fetch(url, tmp_path).read_bytes() == BODY
    loopback.serve("b", statuses=[status] * 9)
    with pytest.raises(DownloadError, match=f"answered {status}; gave up after 4 attempts"):
        fetch(loopback.url("b"), tmp_path)


def test_waits_follow_the_server_within_bounds(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(transfer_module.time, "sleep", waited.append)
    fetch(loopback.serve("a", BODY, statuses=[503], headers={"Retry-After": "7"}), tmp_path)
    fetch(loopback.serve("b", BODY, statuses=[503], headers={"Retry-After": "86400"}), tmp_path)
    fetch(loopback.serve("c", BODY, statuses=[503] * 2), tmp_path, patience=Patience(pauses_s=(1.0, 2.0)))
    # The server's own pauses of 0 s sleep as well.
    assert [wait for wait in waited if wait] == [7.0, 60.0, 1.0, 2.0]


def test_new_ground_earns_new_attempts(loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "PROGRESS", 10_000)
    url = loopback.serve("a", BODY, drops=[20_000] * 12)
    assert fetch(url, tmp_path).read_bytes() == BODY
    # Without ranges there is no new ground, however many bytes arrive.
    stuck = loopback.serve("b", BODY, ranges=False, drops=[20_000] * 99)
    with pytest.raises(DownloadError, match="gave up"):
        fetch(stuck, tmp_path)
    assert sum(request.path == "/b" for request in loopback.requests) == 4


def test_redirects_are_followed(loopback: Loopback, tmp_path: Path) -> None:
    loopback.serve("real", BODY)
    assert fetch(loopback.serve("a", location="/real"), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///etc/hostname", "not followed"),
        ("ftp://127.0.0.1/a", "not followed"),
        ("data:text/plain,a", "not followed"),
        ("/a", "in circles"),
    ],
)
def test_bad_redirects_are_refused(loopback: Loopback, tmp_path: Path, location: str, message: str) -> None:
    with pytest.raises(DownloadError, match=message):
        fetch(loopback.serve("a", location=location), tmp_path)
    assert leftovers(tmp_path) == []


def test_endless_redirects_end(loopback: Loopback, tmp_path: Path) -> None:
    for step in range(50):
        loopback.serve(str(step), location=f"/{step + 1}")
    with pytest.raises(DownloadError, match="too often"):
        fetch(loopback.url("0"), tmp_path)
    assert len(loopback.requests) <= 10


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/hostname", "only http:// and https://"),
        ("ftp://example.org/a", "only http:// and https://"),
        ("net.pth", "only http:// and https://"),
        ("http:///a", "only http:// and https://"),
        ("http://example.org/a b", "percent-encode"),
        ("http://example.org/a\r\nHost: b", "percent-encode"),
        ("http://user:secret@example.org/a", "user name"),
        ("http://example.org:port/a", "no address"),
        ("http://[::1/a", "no address"),
    ],
)
def test_what_is_no_web_address_is_refused(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        fetch(url, tmp_path)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, "a" * 65])
def test_what_is_no_digest_is_refused(tmp_path: Path, sha256: str) -> None:
    with pytest.raises(ValueError, match="sha256 must be 8 to 64 hexadecimal digits"):
        fetch("http://127.0.0.1:1/a", tmp_path, sha256=sha256)


@pytest.mark.parametrize("path", ["../../up", "%2e%2e%2fup", ".hidden", "x" * 500 + ".pth", "a%00b", ""])
def test_no_name_leaves_the_cache(tmp_path: Path, path: str) -> None:
    target = cached_path(f"http://example.org/{path}", cache_dir=tmp_path)
    assert target.parent == tmp_path
    assert target.resolve().parent == tmp_path.resolve()
    assert not target.name.startswith(".")
    assert len(target.name) < 120


def test_a_refused_connection_says_so(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1 accepts no connections"):
            fetch(f"http://127.0.0.1:{port}/a", tmp_path)


def test_no_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    with pytest.raises(DownloadError, match=r"no network, or there is no host weights\.example"):
        fetch("https://weights.example/a", tmp_path)


def test_a_server_that_is_no_web_server(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer() -> None:
            for _ in range(4):
                connection, _ = server.accept()
                connection.recv(1000)
                connection.sendall(b"220 smtp ready\r\n")
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DownloadError, match="gave up after 4 attempts"):
            fetch(f"http://127.0.0.1:{server.getsockname()[1]}/a", tmp_path)
        thread.join()


def test_a_silent_server_counts_as_dropped(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, pause_s=1.0)
    patience = Patience(timeout_s=0.05, pauses_s=())
    with pytest.raises(DownloadError, match=r"sent nothing for 0\.05 s; gave up after 1 attempts"):
        fetch(url, tmp_path, patience=patience)


def test_a_crawling_server_counts_as_dropped(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, pause_s=0.02, chunk=10)
    patience = Patience(slowest=1e6, window_s=0.1, pauses_s=())
    with pytest.raises(DownloadError, match="bytes a second"):
        fetch(url, tmp_path, patience=patience)


def test_a_slow_server_is_waited_for(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, pause_s=0.02, chunk=30_000)
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert len(loopback.requests) == 1


def test_files_over_the_limit_are_refused(loopback: Loopback, tmp_path: Path) -> None:
    declared, silent = loopback.serve("a", BODY), loopback.serve("b", BODY, declares_length=False)
    for url, message in ((declared, "has 300000 bytes"), (silent, "has over 1000 bytes")):
        with pytest.raises(DownloadError, match=message):
            download(url, cache_dir=tmp_path, largest=1000)
    assert leftovers(tmp_path) == []


def test_a_disk_without_room_is_noticed_first(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(transfer_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match="where 1 MiB are free"):
        fetch(loopback.serve("a", BODY), tmp_path)
    assert not cached_path(loopback.url("a"), cache_dir=tmp_path).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_leaves_nothing(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY)
    target = cached_path(url, cache_dir=tmp_path)

    class Full(transfer_module.Partial):
        def restart(self, validator: str | None) -> None:
            super().restart(validator)
            self.path.unlink()
            self.path.symlink_to("/dev/full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download_module, "Partial", Full)
        with pytest.raises(DownloadError, match=os.strerror(errno.ENOSPC)):
            fetch(url, tmp_path)
    assert leftovers(tmp_path) == []
    assert not target.exists()


def test_a_folder_that_cannot_be_written_is_named(loopback: Loopback, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadError, match=r"cannot write .*file"):
        fetch(loopback.serve("a", BODY), tmp_path / "file" / "cache")


def test_a_read_only_cache_still_serves(loopback: Loopback, tmp_path: Path) -> None:
    path = fetch(loopback.serve("a", BODY), tmp_path)
    for lock in tmp_path.glob("*.lock"):
        lock.unlink()
    tmp_path.chmod(0o500)
    try:
        assert fetch(loopback.url("a"), tmp_path) == path
        assert list(tmp_path.glob("*.lock")) == []
    finally:
        tmp_path.chmod(0o700)


def test_threads_fetch_a_file_once(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, pause_s=0.01, chunk=50_000)
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda _: fetch(url, tmp_path), range(6)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert len(loopback.requests) == 1


def test_processes_fetch_a_file_once(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, pause_s=0.02, chunk=20_000)
    with multiprocessing.get_context("forkserver").Pool(3) as pool:
        paths = pool.starmap(fetch, [(url, tmp_path)] * 3)
    assert {path.read_bytes() for path in paths} == {BODY}
    assert len(loopback.requests) == 1


def test_an_interrupted_download_can_be_taken_up(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.serve("a", BODY, pause_s=0.05, chunk=3000)
    program = (
        "import sys, pathlib; from triscale.download import download\n"
        "download(sys.argv[1], cache_dir=pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, url, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not any(path.stat().st_size > 6000 for path in tmp_path.glob("*.partial")):
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in output
    assert not cached_path(url, cache_dir=tmp_path).exists()
    (partial,) = tmp_path.glob("*.partial")
    size = partial.stat().st_size
    loopback.resources["/a"].pause_s = 0
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert loopback.requests[-1].range == f"bytes={size}-"


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRISCALE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("TRISCALE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "triscale"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "triscale"


class _Terminal:
    """Standard error as a terminal that keeps what was drawn."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def write(self, text: str) -> int:
        self.drawn.append(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("quiet_s", "drawn"), [(60.0, False), (0.0, True)])
def test_a_bar_shows_only_where_it_takes_long(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet_s: float, drawn: bool
) -> None:
    terminal = _Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(download_module, "QUIET_S", quiet_s)
    monkeypatch.setattr(sys, "stderr", terminal)
    fetch(loopback.serve("net.pth", BODY), tmp_path)
    monkeypatch.undo()
    assert ("net.pth" in "".join(terminal.drawn)) is drawn
