"""kill -9 at any moment, again and again: the weights at the end are those of a run that nobody touched."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.launched import Launcher, launched
from tests.train.tiny import assert_same_run
from triscale.arch import NetworkSpec, spec_to_json
from triscale.arch.rows import conv, mbconv
from triscale.arch.spec import square
from triscale.run_log import read_log

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SPEC = NetworkSpec(
    "tiny",
    square(28),
    stages=(conv(3, 2, 8), mbconv(3, 2, 2, 8, 2), conv(1, 1, 16)),
    dropout=0.2,
    stochastic_depth_rate=0.2,
)
SETTINGS = ("epochs=6", "batch_size=16", "batch_norm_images=8", "minival=16", "ema_decay=0.9", "augmentation.flip=true")
DATA = "synthetic:classes=4,images=96,size=28,jpeg=0,pictures=96"


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    (path / "tiny.json").write_text(spec_to_json(SPEC))
    return path


def words(folder: Path, run: str, *, workers: int) -> list[str]:
    options = ["--network", str(folder / "tiny.json"), "-o", str(folder / run), "--workers", str(workers)]
    return ["train", DATA, *SETTINGS, *options, "--checkpoint-every", "0", "--json", "--resume"]


@pytest.fixture(scope="module")
def undisturbed(launcher: Launcher, folder: Path) -> tuple[Path, float]:
    """A run left alone, and the seconds from its first update to its last."""
    launcher.start(words(folder, "undisturbed", workers=0), folder / "undisturbed.txt")
    assert launcher.end() == 0, (folder / "undisturbed.txt").read_text()
    rows = read_log(folder / "undisturbed" / "log.jsonl")
    return folder / "undisturbed", rows[-1]["time_s"] - rows[0]["time_s"]


def events(log: Path, name: str) -> int:
    return log.read_bytes().count(f'"{name}"'.encode()) if log.exists() else 0


def await_moment(log: Path, *, within_s: float, delays: random.Random) -> None:
    """Return at some moment: of the start, in one case of four, else of the updates, evaluations and checkpoints.

    Updates are counted, not timed: a busy machine makes few in the time in which an idle one ends the run.
    """
    if delays.random() < 0.25:
        time.sleep(delays.uniform(0.0, 1.0))
        return
    wanted, started_s = events(log, "train") + delays.randint(1, 8), time.monotonic()
    while events(log, "train") < wanted and not events(log, "validation") and time.monotonic() - started_s < 60:
        time.sleep(0.005)
    time.sleep(delays.uniform(0.0, within_s))


def train_through_kills(
    launcher: Launcher, folder: Path, undisturbed: tuple[Path, float], *, kills: int, workers: int
) -> dict[str, int]:
    """Kill runs `kills` times; all that end are as the one left alone.

    A run that ends before it is killed, or was killed after its last evaluation, makes room for another. Returns how
    many runs ended, at how many different places they were killed, and how often in the middle of writing a file.
    """
    expected, training_s = undisturbed
    delays, killed, written, partial = random.Random(kills + workers), 0, set(), 0
    for number in range(10 * kills):
        run = folder / f"killed-{kills}-{workers}-{number}"
        output = run.with_suffix(".txt")
        while True:
            pid = launcher.start(words(folder, run.name, workers=workers), output)
            if killed < kills and not events(run / "log.jsonl", "validation"):
                await_moment(run / "log.jsonl", within_s=training_s / 30, delays=delays)
                os.kill(pid, signal.SIGKILL)
            code = launcher.end()
            if code != -signal.SIGKILL:
                break
            killed += 1
            written.add((number, *sorted(path.name for path in (run / "checkpoints").glob("step-*"))[-1:]))
            partial += any(run.rglob("*.partial"))
        assert code == 0, output.read_text()
        # The fork server that a killed process leaves behind may complain of it; a run that ends has nothing to say.
        assert "Traceback" not in output.read_text().rpartition('"event": "started"')[2]
        assert not list(run.rglob("*.partial")), "what killed processes left half-written is removed"
        assert_same_run(run, expected)
        if killed == kills:
            return {"runs": number + 1, "places": len(written), "while writing": partial}
    raise AssertionError("every run ended before it was killed")


@pytest.mark.parametrize(("kills", "workers"), [(3, 0), (2, 2)])
def test_kills_change_nothing(
    launcher: Launcher, folder: Path, undisturbed: tuple[Path, float], kills: int, workers: int
) -> None:
    train_through_kills(launcher, folder, undisturbed, kills=kills, workers=workers)


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "workers"), [(50, 0), (50, 2)])
def test_fifty_kills_change_nothing(
    launcher: Launcher, folder: Path, undisturbed: tuple[Path, float], kills: int, workers: int
) -> None:
    found = train_through_kills(launcher, folder, undisturbed, kills=kills, workers=workers)
    print(found)
    assert found["places"] > 10
