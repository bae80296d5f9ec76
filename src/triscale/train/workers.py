"""Processes that read images: out of the reach of Ctrl-C, and gone as soon as the process they read for is gone."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from types import TracebackType
from typing import Any, Final

import cv2
import torch

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_WATCH_S: Final = 1.0


def worker_context(preload: str) -> ForkServerContext:
    """How worker processes are started: by a server that has imported `preload`, and where no signal to stop ends them.

    Forking a process that computes in threads may hang the child; the server starts before there are any. Ctrl-C in
    a terminal and a service manager's SIGTERM go to every process of a group: the main one decides what they mean,
    and still needs its workers while it does.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    # Starting the tracker lets the signals through again, so it comes first.
    resource_tracker.ensure_running()
    with _held_back():
        forkserver.ensure_running()
    return context


@contextmanager
def _held_back() -> Iterator[None]:
    """A process started inside the block never gets the signals; this one gets them after it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(_number: int) -> None:
    """What a worker process does first."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    threading.Thread(target=_leave_with_main, daemon=True).start()
    sys.excepthook = _silent_when_alone


def _leave_with_main() -> None:
    """End this process when the main one is gone, killed perhaps, or asks for it.

    Workers keep the server alive and the server keeps workers alive, so nobody else would notice.
    """
    main = multiprocessing.parent_process()
    assert main is not None
    while main.is_alive():
        sent = signal.sigtimedwait(_STOP_SIGNALS, _WATCH_S)
        if sent is not None and sent.si_signo == signal.SIGTERM and sent.si_pid == main.pid:
            break
    os._exit(1)


def _silent_when_alone(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print an error that nobody caught, unless the main process is gone: connections to it then fail of course."""
    main = multiprocessing.parent_process()
    assert main is not None
    main.join(_WATCH_S)
    if main.is_alive():
        sys.__excepthook__(kind, error, traceback)


class Guarded:
    """Reads as `reader` does, and hands on as a value what it raises: across processes errors lose their kind."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader

    def __getitem__(self, place: Any) -> Any:
        try:
            return self.reader[place]
        except (ValueError, OSError, MemoryError) as error:
            return error


def unguarded(items: Iterator[Any]) -> Iterator[Any]:
    """What was read; raises what a `Guarded` reader met, and ChildProcessError where a worker process is gone."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except (RuntimeError, EOFError, ConnectionError, FileNotFoundError) as error:
            # The last three: it was killed with what it had read still in its hands.
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            raise ChildProcessError(
                "a process that read images was killed, perhaps since memory ran out; go on with --resume --workers 0"
            ) from None
        if isinstance(item, Exception):
            raise item
        yield item
