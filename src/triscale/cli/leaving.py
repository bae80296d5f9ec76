"""Leaving a command early, in one line, before there is anything to save."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def sigterm_ends(verb: str) -> Iterator[None]:
    """Let SIGTERM end the command with a line on stderr and the exit code that a shell gives for it.

    Signals come to a process's main thread alone; in another one nothing changes.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        print(f"triscale {verb}: stopped", file=sys.stderr)
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let signals to stop take effect after the block: compiled modules take an interrupted import for a broken one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
