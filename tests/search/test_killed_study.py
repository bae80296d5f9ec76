"""A study whose process is killed with no chance to tidy up goes on with nothing lost and nothing done twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.killed_study import TRIALS
from tests.search.made_up import Row
from triscale.search.planner import State
from triscale.search.record import open_record, sqlite_address

ROOT = Path(__file__).parents[2]


def _start(folder: Path, executor: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.search.killed_study", str(folder), executor],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


@pytest.mark.parametrize(
    ("executor", "kills"),
    [("local", (2, 4)), ("ray", (3,)), pytest.param("ray", (2, 4), marks=pytest.mark.slow)],
)
def test_killed_study_loses_and_repeats_nothing(tmp_path: Path, executor: str, kills: tuple[int, ...]) -> None:
    for kill_after in kills:
        process = _start(tmp_path, executor)
        assert process.stdout is not None
        done = 0
        for line in process.stdout:
            done += line.startswith("done")
            if done == kill_after:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    last = _start(tmp_path, executor)
    printed, _ = last.communicate(timeout=120)
    assert last.returncode == 0
    assert printed.splitlines()[-1] == "complete"
    planner = Row(TRIALS, distinct=6)
    with open_record(sqlite_address(tmp_path / "study.db"), "made-up", planner, asked={}, resume=True) as record:
        trials = record.trials()
    assert [trial.state for trial in trials] == [State.DONE] * TRIALS
    assert [trial.value for trial in trials] == [2 * (1 + n % 6) / 1000 for n in range(TRIALS)]
    steps = [path.read_text().split() for path in (tmp_path / "written").iterdir()]
    assert steps == [["0", "1", "2", "3", "4"]] * 6
