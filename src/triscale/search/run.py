"""Running a study: trials are asked for, trained and told, until nothing is left to try or time is up."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from triscale.search.executors import Executor, Finished
from triscale.search.job import Evaluator, Job, Result
from triscale.search.planner import Pause, Planner, State, Trial
from triscale.search.record import BEAT_S, Record

LOST: Final = 3
"""How often a trial whose process died is run; after that something about it kills processes."""
POLLED_S: Final = 0.5
"""How long trainings are waited for before somebody may ask to stop."""


class Event(StrEnum):
    """What a watcher hears of a trial."""

    BEGAN = "began"
    RESUMED = "resumed"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


class End(StrEnum):
    """Why a study came to rest."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    TIME_UP = "time is up"


Watch = Callable[[Event, Trial], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When a study must end, and what a training takes."""

    at_s: float
    """On `clock`."""
    seconds: Callable[[Job], float]
    clock: Callable[[], float] = time.monotonic

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.clock() >= self.at_s

    def allows(self, job: Job) -> bool:
        """Whether `job` would end in time."""
        return self.clock() + self.seconds(job) <= self.at_s


@dataclass(slots=True)
class _Desk:
    """Who waits for which training."""

    busy: dict[int, Trial] = field(default_factory=dict)
    """Trials that this process has running, by the record's number."""
    keys: dict[int, str] = field(default_factory=dict)
    sharing: dict[str, list[Trial]] = field(default_factory=dict)
    """Trials that wait for the training of another one, by the training's key."""
    lost: Counter[int] = field(default_factory=Counter)
    beat_s: float = field(default_factory=time.monotonic)

    @property
    def idle(self) -> bool:
        return not self.busy and not any(self.sharing.values())


def run_study(
    record: Record,
    planner: Planner,
    evaluator: Evaluator,
    executor: Executor,
    *,
    folder: Path,
    watch: Watch = lambda _event, _trial: None,
    stop: Callable[[], bool] = lambda: False,
    deadline: Deadline | None = None,
) -> End:
    """Run trials until the planner has no more, `stop` says so, or the deadline.

    Each distinct training is run once, in a folder of its own below `folder`, which goes when its result is recorded.
    What a killed process left running goes on where it stopped. A trial whose process dies is run again, up to three
    times. Raises ValueError where every training failed, with the first reason.
    """
    desk = _Desk()
    study = _Study(record, planner, evaluator, executor, folder, watch, desk)
    for trial in record.adopt():
        study.begin(trial, Event.RESUMED)
    while True:
        time_up = deadline is not None and deadline.over
        if stop() or time_up:
            return End.TIME_UP if time_up else End.STOPPED
        pause = study.fill(deadline)
        if desk.idle and pause is Pause.END and not study.elsewhere():
            _check_any_done(record.trials())
            return End.COMPLETE
        if desk.idle and pause is None:
            return End.TIME_UP
        for finished in executor.finished(POLLED_S):
            study.finish(finished)
        study.share()
        study.beat()


@dataclass(frozen=True, slots=True)
class _Study:
    record: Record
    planner: Planner
    evaluator: Evaluator
    executor: Executor
    folder: Path
    watch: Watch
    desk: _Desk

    def fill(self, deadline: Deadline | None) -> Pause | None:
        """Begin trials while slots are free. Returns why no more came; None where time is too short for another."""
        while len(self.desk.busy) < self.executor.slots:
            proposed = self.planner.propose(self.record.trials())
            if isinstance(proposed, Pause):
                return proposed
            if deadline is not None and not deadline.allows(self.planner.job(proposed)):
                return None
            asked = self.record.ask()
            if isinstance(asked, Pause):
                return asked
            self.begin(asked, Event.BEGAN)
        return Pause.WAIT

    def begin(self, trial: Trial, event: Event) -> None:
        """Train, unless that was done, or is being done, for another trial."""
        job = self.planner.job(trial.params)
        same = [other for other in self.record.trials() if other.id != trial.id and self._key(other) == job.key]
        done = next((other for other in same if other.state is State.DONE), None)
        if done is not None and done.result is not None:
            self.watch(Event.DONE, self.record.done(trial, done.result, same_as=_trained(done)))
            return
        failed = next((other for other in same if other.state is State.FAILED), None)
        if failed is not None:
            self.watch(Event.FAILED, self.record.failed(trial, failed.error))
            return
        if any(other.state is State.RUNNING and other.id < trial.id for other in same):
            self.desk.sharing.setdefault(job.key, []).append(trial)
            return
        self.desk.busy[trial.id] = trial
        self.executor.submit(trial.id, partial(self.evaluator, job, self.folder / job.key))
        self.watch(event, trial)

    def finish(self, finished: Finished) -> None:
        """Record how a training ended."""
        trial = self.desk.busy.pop(finished.number)
        job = self.planner.job(trial.params)
        if finished.lost:
            self.desk.lost[trial.id] += 1
            self.watch(Event.LOST, trial)
            if self.desk.lost[trial.id] < LOST:
                self.begin(trial, Event.RESUMED)
                return
            reason = f"its process died {LOST} times, perhaps for want of memory"
            self.watch(Event.FAILED, self.record.failed(trial, reason))
        elif isinstance(finished.error, ValueError):
            self.watch(Event.FAILED, self.record.failed(trial, str(finished.error)))
        elif finished.error is not None:
            raise finished.error
        else:
            assert isinstance(finished.value, Result)
            self.watch(Event.DONE, self.record.done(trial, finished.value))
        shutil.rmtree(self.folder / job.key, ignore_errors=True)

    def share(self) -> None:
        """Give results to the trials that waited for another one's training."""
        waiting = [trial for trials in self.desk.sharing.values() for trial in trials]
        if not waiting:
            return
        running = {self._key(other) for other in self.record.trials() if other.state is State.RUNNING}
        self.desk.sharing.clear()
        for trial in waiting:
            key = self._key(trial)
            earlier = [other for other in self.record.trials() if other.id < trial.id and self._key(other) == key]
            if key in running and any(other.state is State.RUNNING for other in earlier):
                self.desk.sharing.setdefault(key, []).append(trial)
            else:
                self.begin(trial, Event.BEGAN)

    def beat(self) -> None:
        """Say from time to time that this process is alive, and see whether another one no longer is."""
        if time.monotonic() - self.desk.beat_s < BEAT_S:
            return
        self.desk.beat_s = time.monotonic()
        for trial in [*self.desk.busy.values(), *(t for trials in self.desk.sharing.values() for t in trials)]:
            self.record.beat(trial)
        for trial in self.record.adopt():
            self.begin(trial, Event.RESUMED)

    def elsewhere(self) -> bool:
        """Whether another process is still at work on trials of this study."""
        return any(trial.state is State.RUNNING for trial in self.record.trials())

    def _key(self, trial: Trial) -> str:
        key = self.desk.keys.get(trial.id)
        if key is None:
            key = self.desk.keys[trial.id] = self.planner.job(trial.params).key
        return key


def _trained(trial: Trial) -> int:
    """The number of the trial that was trained for `trial`."""
    return trial.number if trial.same_as is None else trial.same_as


def _check_any_done(trials: tuple[Trial, ...]) -> None:
    failed = [trial for trial in trials if trial.state is State.FAILED]
    if failed and len(failed) == len(trials):
        raise ValueError(f"all {len(failed)} trainings failed, the first with: {failed[0].error}")
