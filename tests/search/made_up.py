"""Planners, evaluators and executors that need no training."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from triscale.arch import NetworkSpec, square
from triscale.arch.rows import conv
from triscale.search.executors import Finished, Work
from triscale.search.job import Failed, Job, Result
from triscale.search.planner import Choice, Params, Pause, State, Trial


@contextmanager
def hurried_databases() -> Iterator[None]:
    """SQLite does not wait for the disk: what is killed loses nothing, only a power cut would."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def hurry(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    try:
        yield
    finally:
        event.remove(Engine, "connect", hurry)


def network(channels: int) -> NetworkSpec:
    return NetworkSpec(f"made-up-{channels}", square(8), (conv(3, 2, channels),), classes=2)


@dataclass(frozen=True)
class Row:
    """A planner that tries numbers in a row; those that are equal modulo `distinct` share a training."""

    count: int
    distinct: int = 1000
    batch: int = 1000
    """Trials asked for before results are waited for."""

    @property
    def choices(self) -> Mapping[str, tuple[Choice, ...]]:
        return {"n": tuple(range(self.count)), "word": ("a", "b")}

    def propose(self, past: Sequence[Trial]) -> Params | Pause:
        if len(past) == self.count:
            return Pause.END
        if len(past) % self.batch == 0 and any(trial.state is State.RUNNING for trial in past):
            return Pause.WAIT
        return {"n": len(past), "word": "ab"[len(past) % 2]}

    def job(self, params: Params) -> Job:
        return Job(network=network(1 + int(params["n"]) % self.distinct))

    def value(self, params: Params, result: Result) -> float:  # noqa: ARG002
        return 2 * result.score

    def expected(self) -> Sequence[Job]:
        return [self.job({"n": n}) for n in range(self.count)]


@dataclass(frozen=True)
class Counting:
    """Scores a network by its channels and leaves a file for each training; some of them fail."""

    trained: Path
    failing: frozenset[int] = frozenset()

    def __call__(self, job: Job, folder: Path) -> Result:
        channels = job.network.features
        if channels in self.failing:
            raise Failed(f"{channels} channels are unlucky")
        folder.mkdir(parents=True, exist_ok=True)
        with (self.trained / f"{job.key}").open("a") as file:
            file.write(f"{channels}\n")
        return Result(score=channels / 1000, images=10, seconds=0.5)

    def seconds(self, job: Job) -> float:
        return float(job.network.features)


@dataclass
class Inline:
    """An executor that does the last work first, in this process; what it is told to lose is lost."""

    slots: int = 2
    losing: dict[int, int] = field(default_factory=dict)
    description: str = "this process"
    work: list[tuple[int, Work]] = field(default_factory=list)

    def submit(self, number: int, work: Work) -> None:
        self.work.append((number, work))

    def finished(self, timeout_s: float) -> list[Finished]:  # noqa: ARG002
        if not self.work:
            return []
        number, work = self.work.pop()
        if self.losing.get(number, 0):
            self.losing[number] -= 1
            return [Finished(number=number, lost=True)]
        try:
            return [Finished(number=number, value=work())]
        except Exception as error:
            return [Finished(number=number, error=error)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.work.clear()


def renamed(spec: NetworkSpec, name: str) -> NetworkSpec:
    return replace(spec, name=name)


@dataclass(frozen=True)
class Stepping:
    """Works in steps that it writes down, and goes on after the last one written where it was cut short."""

    written: Path
    steps: int = 5
    step_s: float = 0.1

    def __call__(self, job: Job, folder: Path) -> Result:  # noqa: ARG002
        path = self.written / job.key
        path.touch()
        while (done := len(path.read_text().splitlines())) < self.steps:
            time.sleep(self.step_s)
            with path.open("a") as file:
                file.write(f"{done}\n")
        return Result(score=job.network.features / 1000, images=10, seconds=self.steps * self.step_s)

    def seconds(self, job: Job) -> float:  # noqa: ARG002
        return self.steps * self.step_s
