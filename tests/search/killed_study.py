"""A study in a process of its own, to be killed: `python -m tests.search.killed_study FOLDER local|ray`."""

import sys
from pathlib import Path

from tests.search.made_up import Row, Stepping
from triscale.search.executors import Executor
from triscale.search.record import open_record, sqlite_address
from triscale.search.run import run_study

TRIALS = 8


def executor(name: str) -> Executor:
    if name == "local":
        from triscale.search.executors.local import LocalExecutor

        return LocalExecutor(2, grace_s=0.0)
    from triscale.search.executors.ray import RayExecutor

    return RayExecutor(slots=2)


def main(folder: Path, name: str) -> None:
    planner = Row(TRIALS, distinct=6)
    written = folder / "written"
    written.mkdir(exist_ok=True)
    address = sqlite_address(folder / "study.db")
    with executor(name) as workers, open_record(address, "made-up", planner, asked={}, resume=True) as record:
        end = run_study(
            record,
            planner,
            Stepping(written),
            workers,
            folder=folder / "trainings",
            watch=lambda event, trial: print(event.value, trial.number, flush=True),
        )
    print(end.value, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
