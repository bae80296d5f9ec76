"""Starting torchrun from a test, on a free port, and ending all that it started."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 120.0


@contextmanager
def torchrun(
    words: Sequence[str], output: Path, *, processes: int = 2, restarts: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """torchrun as a process group of its own, its output in a file."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--monitor-interval", "0.1"]
    command += ["--nproc-per-node", str(processes), "--max-restarts", str(restarts), "-m", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(60)


def run_to_its_end(words: Sequence[str], output: Path, *, processes: int = 2, restarts: int = 0) -> int:
    """The exit code of torchrun."""
    with torchrun(words, output, processes=processes, restarts=restarts) as process:
        return process.wait(PATIENCE_S)
