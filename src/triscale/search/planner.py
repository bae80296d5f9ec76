"""Which trials a study makes: the one protocol of grids, halving, guided search, evolution and the controller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from triscale.search.job import Job, Result

Choice = int | float | str | bool
"""What a parameter of a trial may be."""
Params = Mapping[str, Choice]


class State(StrEnum):
    """How far a trial is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One row of a study's record."""

    number: int
    """Its place among the trials, from 0."""
    params: Params
    state: State
    value: float | None = None
    """What the planner maximises; None until it is done."""
    result: Result | None = None
    error: str = ""
    """Why it failed."""
    same_as: int | None = None
    """The trial whose training it shares: nothing is trained twice."""
    began_s: float | None = None
    ended_s: float | None = None
    """Unix time."""
    id: int = -1
    """What the record calls it."""


class Pause(StrEnum):
    """Why a planner proposes nothing now."""

    WAIT = "wait"
    """Results that are on their way decide what comes next."""
    END = "end"
    """Nothing is left to try."""


class Planner(Protocol):
    """Decides what is tried next, from what is known and nothing else.

    `propose` is a pure function of the trials so far, in the order of their numbers, running ones included. So a study
    that was killed goes on as if nothing had happened, and the order in which trainings end changes nothing: a planner
    that learns waits for whole batches.
    """

    @property
    def choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """Every parameter and the values it may take."""

    def propose(self, past: Sequence[Trial]) -> Params | Pause:
        """The next trial's parameters; its number will be `len(past)`."""

    def job(self, params: Params) -> Job:
        """The training that a trial's parameters stand for."""

    def value(self, params: Params, result: Result) -> float:
        """What is maximised: the score, or a reward made from it."""

    def expected(self) -> Sequence[Job]:
        """The trainings of a whole study, as far as they can be known before: what a study costs is told from them."""
