"""Where trainings run: processes of this machine, or a cluster, behind one small protocol."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

Work = Callable[[], Any]
"""What is run; it can be pickled, and so can what it returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How one piece of work ended: with a value, an error that it raised, or not at all."""

    number: int
    """As it was submitted."""
    value: Any = None
    error: Exception | None = None
    lost: bool = False
    """Whether its process died; the same work may be submitted again."""


class Executor(Protocol):
    """Runs work side by side. Leaving it ends whatever still runs."""

    @property
    def slots(self) -> int:
        """How many pieces of work run at the same time."""

    @property
    def description(self) -> str:
        """Such as "2 processes, 1 core each"."""

    def submit(self, number: int, work: Work) -> None:
        """Run `work`, now or when a slot is free; returns at once."""

    def finished(self, timeout_s: float) -> list[Finished]:
        """What has ended since the last call; waits at most `timeout_s` seconds for the first."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
