"""Trainings in processes of this machine, its cores shared out among them."""

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Final, Self

from triscale.search.executors import Finished, Work
from triscale.search.executors.pickled import answer, packed, unpacked

_CONTEXT: Final = get_context("spawn")
THREAD_SETTINGS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Libraries read them once, when they are loaded."""


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    orders: Connection
    alive: Connection
    """Held open here and nowhere else: a worker that sees its other end close ends itself."""
    number: int | None = None
    """Of the work it does."""


class LocalExecutor:
    """As many processes as `slots`, kept from one piece of work to the next, so that images stay loaded.

    Each has an equal share of `cores`, to which it is bound where the system can; with no `slots` given, there is one
    for each core, since small networks train best on one. A process that dies is replaced. Processes are left
    `grace_s` seconds to save what they do when this executor is left.

    Raises ValueError for less than one slot, or no cores.
    """

    def __init__(self, slots: int | None = None, *, cores: Sequence[int] | None = None, grace_s: float = 10.0) -> None:
        own = tuple(cores) if cores is not None else usable_cores()
        if not own:
            raise ValueError("trainings need a core to run on, got no cores; leave cores out for all there are")
        self.slots = len(own) if slots is None else slots
        if self.slots < 1:
            raise ValueError(f"at least one training must run at a time, got {self.slots}")
        share = max(1, len(own) // self.slots)
        self._cores = [tuple(own[(slot * share + n) % len(own)] for n in range(share)) for slot in range(self.slots)]
        self._grace_s = grace_s
        self._workers: list[_Worker | None] = [None] * self.slots
        self._queue: deque[tuple[int, bytes]] = deque()
        processes = "1 process" if self.slots == 1 else f"{self.slots} processes"
        self.description = f"{processes}, {share} core{'s' if share > 1 else ''} each"

    def submit(self, number: int, work: Work) -> None:
        """Raises ValueError for work that cannot be pickled."""
        self._queue.append((number, packed(work)))
        self._hand_out()

    def finished(self, timeout_s: float) -> list[Finished]:
        """A process that died without an answer makes its work lost."""
        busy = {
            worker.orders: slot for slot, worker in enumerate(self._workers) if worker and worker.number is not None
        }
        answered = wait(list(busy), timeout_s)
        # What a dead process had forked holds its pipe open, so that no end of it is seen.
        ended = [slot for orders, slot in busy.items() if orders in answered or not self._alive(slot)]
        collected = [self._collect(slot) for slot in ended]
        self._hand_out()
        return collected

    def _alive(self, slot: int) -> bool:
        worker = self._workers[slot]
        return worker is not None and worker.process.is_alive()

    def _collect(self, slot: int) -> Finished:
        worker = self._workers[slot]
        assert worker is not None
        assert worker.number is not None
        number, worker.number = worker.number, None
        with contextlib.suppress(EOFError, OSError):
            if worker.orders.poll():
                return unpacked(number, worker.orders.recv_bytes())
        self._end(slot, grace_s=0.0)
        return Finished(number=number, lost=True)

    def _hand_out(self) -> None:
        for slot in range(self.slots):
            if not self._queue:
                return
            worker = self._workers[slot]
            if worker is not None and worker.number is not None:
                continue
            if worker is None or not self._alive(slot):
                self._end(slot, grace_s=0.0)
                worker = self._workers[slot] = _begin(self._cores[slot])
            worker.number, pickled = self._queue.popleft()
            with contextlib.suppress(OSError):  # found dead when its answer is waited for
                worker.orders.send_bytes(pickled)

    def _end(self, slot: int, *, grace_s: float) -> None:
        worker = self._workers[slot]
        if worker is None:
            return
        worker.process.join(grace_s)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.orders.close()
        worker.alive.close()
        worker.process.close()
        self._workers[slot] = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._queue.clear()
        for worker in self._workers:
            if worker is not None:
                worker.process.terminate()
        until_s = time.monotonic() + self._grace_s
        for slot in range(self.slots):
            self._end(slot, grace_s=max(0.0, until_s - time.monotonic()))


def usable_cores() -> tuple[int, ...]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _begin(cores: tuple[int, ...]) -> _Worker:
    orders, workers_orders = _CONTEXT.Pipe()
    workers_alive, alive = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(workers_orders, workers_alive, cores), daemon=False)
    before = {name: os.environ.get(name) for name in THREAD_SETTINGS}
    # What is imported on the way into the new process must find them set already.
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, str(len(cores))))
    try:
        process.start()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    workers_orders.close()
    workers_alive.close()
    return _Worker(process, orders, alive)


def _work(orders: Connection, alive: Connection, cores: tuple[int, ...]) -> None:
    """What a process does: work after work, until nobody is left to work for."""
    # Ctrl-C reaches every process of a terminal; the one that gave the work decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cores)
    while True:
        try:
            work = orders.recv_bytes()
        except (EOFError, OSError):
            return
        orders.send_bytes(answer(work))


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _end_with(alive: Connection) -> None:
    """End this process, whatever it does, when the one that gave the work is gone."""
    with contextlib.suppress(EOFError, OSError):
        alive.recv_bytes()
    os._exit(1)
