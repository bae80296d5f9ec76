"""What a study will cost: a few trainings are paced, the others are judged by their multiply-adds."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from triscale.cost import network_cost
from triscale.search.executors import Executor, Finished
from triscale.search.job import Evaluator, Job

PACED: Final = 3
"""Networks that are measured: the smallest, the largest and one between."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that one training takes, as it runs beside others."""

    macs: tuple[float, ...]
    """Multiply-adds of the networks measured, ascending."""
    epoch_seconds: tuple[float, ...]
    """What each of them takes, divided by its job's epochs (by 1 where the recipe decides)."""

    def seconds(self, job: Job) -> float:
        """What `job` takes: between two measured networks by proportion, beyond them as the nearest, by its size."""
        macs = network_cost(job.network).macs
        inside = float(np.clip(macs, self.macs[0], self.macs[-1]))
        measured = float(np.interp(inside, self.macs, self.epoch_seconds))
        return measured * macs / inside * (job.epochs or 1)


def measure_pace(jobs: Sequence[Job], evaluator: Evaluator, executor: Executor) -> Pace:
    """Pace a few of `jobs`, all slots busy at the same time, as they will be.

    Raises whatever a training raises at its beginning, such as ValueError for a batch larger than the images.
    """
    ordered = sorted({job.key: job for job in jobs}.values(), key=lambda job: network_cost(job.network).macs)
    places = sorted({round(index * (len(ordered) - 1) / (PACED - 1)) for index in range(PACED)})
    measured = [ordered[place] for place in places]
    copies = -(-executor.slots // len(measured))
    work = measured * copies
    for number, job in enumerate(work):
        executor.submit(number, _Measure(evaluator, job))
    seconds: dict[int, list[float]] = {place: [] for place in range(len(measured))}
    ended: list[Finished] = []
    while len(ended) < len(work):
        ended += executor.finished(60.0)
    for finished in ended:
        if finished.error is not None:
            raise finished.error
        if finished.lost:
            raise ValueError("a process died while a training was measured; is there memory enough for it?")
        seconds[finished.number % len(measured)].append(finished.value)
    pairs = sorted(
        (float(network_cost(job.network).macs), float(np.mean(seconds[place])) / (job.epochs or 1))
        for place, job in enumerate(measured)
    )
    return Pace(tuple(macs for macs, _ in pairs), tuple(taken for _, taken in pairs))


@dataclass(frozen=True, slots=True)
class _Measure:
    evaluator: Evaluator
    job: Job

    def __call__(self) -> float:
        return self.evaluator.seconds(self.job)


def elapsed_seconds(seconds: Iterable[float], slots: int) -> float:
    """How long pieces of work take in turn on so many slots."""
    ends = [0.0] * slots
    for taken in seconds:
        heapq.heapreplace(ends, ends[0] + taken)
    return max(ends)
