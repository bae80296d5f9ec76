"""Ctrl-C and SIGTERM, at the start and in training: one line, the shell's exit code, nobody left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.train.launched import Launcher, launched
from tests.train.processes import children, descendants
from triscale.arch import NetworkSpec, spec_to_json
from triscale.arch.rows import conv, mbconv
from triscale.arch.spec import square
from triscale.run_log import read_log
from triscale.train.checkpoint import checkpoint_files

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

SPEC = NetworkSpec("tiny", square(28), stages=(conv(3, 2, 8), mbconv(3, 2, 2, 8, 1), conv(1, 1, 16)))
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with launched() as found:
        yield found


def words(folder: Path, *, images: int = 96, workers: int = 0) -> list[str]:
    (folder / "tiny.json").write_text(spec_to_json(SPEC))
    data = f"synthetic:classes=4,images={images},size=28,jpeg=0,pictures=16"
    options = ["--network", str(folder / "tiny.json"), "-o", str(folder / "run"), "--workers", str(workers)]
    return ["train", data, "epochs=1000", "batch_size=16", "minival=16", *options, "--json"]


def wait_for(true: Callable[[], object], *, what: str) -> None:
    started_s = time.monotonic()
    while not true():
        assert time.monotonic() - started_s < 60, f"waited a minute for {what}"
        time.sleep(0.01)


def events(folder: Path) -> list[str]:
    return [row["event"] for row in read_log(folder / "run" / "log.jsonl")]


@pytest.mark.parametrize("number", CODES)
def test_in_training(number: signal.Signals, launcher: Launcher, tmp_path: Path) -> None:
    """Sent to the whole group, as a terminal and a service manager do, workers and all."""
    pid = launcher.start(words(tmp_path, workers=2), tmp_path / "output.txt")
    wait_for(lambda: "epoch" in events(tmp_path), what="an epoch")
    below = [process for generation in descendants(pid) for process in generation]
    assert len(below) >= 4, "tracker, server, two workers"
    for process in below:
        os.kill(process, number)
    os.kill(pid, number)
    assert launcher.end() == CODES[number]
    text = (tmp_path / "output.txt").read_text()
    assert re.search(
        rf"stopped after update \d+ of 5000; go on with\n  triscale train -o {tmp_path}/run --resume", text
    )
    assert "Traceback" not in text
    assert "Error" not in text
    assert events(tmp_path)[-1] == "stopped"
    assert checkpoint_files(tmp_path / "run" / "checkpoints")

    def living() -> set[int]:
        return {process for siblings in children().values() for process in siblings} & set(below)

    wait_for(lambda: not living(), what="the workers' end")


def test_kill_leaves_no_workers(launcher: Launcher, tmp_path: Path) -> None:
    pid = launcher.start(words(tmp_path, workers=2), tmp_path / "output.txt")
    wait_for(lambda: "train" in events(tmp_path), what="an update")
    below = {process for generation in descendants(pid) for process in generation}
    os.kill(pid, signal.SIGKILL)
    assert launcher.end() == -signal.SIGKILL
    wait_for(
        lambda: not ({process for siblings in children().values() for process in siblings} & below),
        what="the workers' end",
    )


def test_a_second_ctrl_c_leaves_at_once(launcher: Launcher, tmp_path: Path) -> None:
    pid = launcher.start(words(tmp_path, images=4096), tmp_path / "output.txt")
    wait_for(lambda: "train" in events(tmp_path), what="an update")
    os.kill(pid, signal.SIGSTOP)  # so that both come within one update
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGCONT)
    assert launcher.end() in (130, 143)
    assert "Traceback" not in (tmp_path / "output.txt").read_text()


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("delay_s", [0.4, 1.5])
def test_at_the_start(number: signal.Signals, delay_s: float, tmp_path: Path) -> None:
    """Whatever is being imported or tried, the command ends without a word too many."""
    command = [sys.executable, "-m", "triscale", *words(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        imported = Path(f"/proc/{process.pid}/maps")
        wait_for(lambda: "_datetime" in imported.read_text() or "_json" in imported.read_text(), what="the interpreter")
        time.sleep(delay_s)
        process.send_signal(number)
        _, text = process.communicate(timeout=60)
    assert process.returncode in (CODES[number], -number)
    assert "Traceback" not in text
    assert text.count("\n") <= 2
