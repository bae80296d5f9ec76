"""The command line in processes of its own, started in no time."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Launcher:
    """Forks of a process that has imported everything."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.train.launcher"]
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=os.curdir
        )

        assert self._answer() == "ready"

    def start(self, words: list[str], output: Path) -> int:
        """The process's id, its own until `end`."""
        self._ask(json.dumps({"words": words, "output": str(output)}))
        return int(self._answer())

    def end(self) -> int:
        """The exit code of what was started, negative for a signal."""
        self._ask("")
        return os.waitstatus_to_exitcode(int(self._answer()))

    def _ask(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def launched() -> Iterator[Launcher]:
    """One that is ready, until the block ends."""
    launcher = Launcher()
    yield launcher
    assert launcher.process.stdin is not None
    assert launcher.process.stdout is not None
    launcher.process.stdin.close()
    launcher.process.wait(30)
    launcher.process.stdout.close()
