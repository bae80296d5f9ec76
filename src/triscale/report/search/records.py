"""What results.json of a search holds, checked once, when it is read. Scores are shares, 0..1."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from triscale.arch.spec import Resolution
from triscale.report.search.checks import check_positive, check_shares
from triscale.report.search.summaries import BaselineSearch, CoefficientSearch, Study


class Kind(StrEnum):
    """What was searched for."""

    COEFFICIENTS = "coefficients"
    BASELINE = "baseline"
    STUDY = "study"


class State(StrEnum):
    """How far a trial is."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a trial trained."""

    name: str
    macs: int
    params: int
    resolution: Resolution

    def __post_init__(self) -> None:
        check_positive(macs=self.macs, params=self.params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training; what failed or still runs has no score."""

    number: int
    params: Mapping[str, int | float | str | bool] = field(default_factory=dict)
    """What was chosen for it, by name."""
    network: Network
    seed: int
    epochs: int | None
    state: State
    score: float | None
    images: int | None
    seconds: float | None
    value: float | None
    error: str
    same_as: int | None

    def __post_init__(self) -> None:
        check_shares(score=self.score)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResults:
    """A results.json."""

    kind: Kind
    command: str
    data: str
    baseline: str
    machine: str
    versions: Mapping[str, str]
    date: str
    executor: str
    training_hours: float
    complete: bool
    trials: tuple[Trial, ...]
    summary: Study | CoefficientSearch | BaselineSearch
    planned: int | None = None
    """Trials of the whole search; None where that was not known."""

    @property
    def done(self) -> int:
        """Trials with a score."""
        return sum(trial.state is State.DONE for trial in self.trials)

    @property
    def failed(self) -> tuple[Trial, ...]:
        """Trials that came to nothing."""
        return tuple(trial for trial in self.trials if trial.state is State.FAILED)
