"""What the three strategies share: candidates, seeds, and how a trial becomes a training."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from triscale.search.coefficients.candidates import Candidate, Candidates
from triscale.search.job import Job, Result
from triscale.search.planner import Choice, Params, Pause, State, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class CoefficientPlanner(ABC):
    """Trains candidates of a grid from several seeds. `coefficient_search` makes one."""

    strategy: ClassVar[str]
    """What results call it."""

    candidates: Candidates
    step: float
    """Of the grid."""
    tolerance: float
    """Of alpha * beta^2 * gamma^2 around 2."""
    seeds: int
    """Trainings of each candidate, at most."""
    epochs: int
    """Of a full training, as the recipe has them."""

    def __post_init__(self) -> None:
        for name, value in (("seeds", self.seeds), ("epochs", self.epochs)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    @property
    def choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """Coefficients as text, such as "1.2,1.1,1.15", and seeds."""
        return {"coefficients": tuple(map(coefficients_text, self.candidates.kept)), "seed": tuple(range(self.seeds))}

    @abstractmethod
    def propose(self, past: Sequence[Trial]) -> Params | Pause:
        """The next training."""

    def job(self, params: Params) -> Job:
        """The full training of a candidate from a seed."""
        return Job(network=self.candidate(params).network, seed=int(params["seed"]))

    def value(self, params: Params, result: Result) -> float:  # noqa: ARG002
        """The score."""
        return result.score

    @abstractmethod
    def expected(self) -> Sequence[Job]:
        """All trainings; those that results decide on are told as others of the same cost."""

    def candidate(self, params: Params) -> Candidate:
        """Whose training a trial is."""
        return next(each for each in self.candidates.kept if coefficients_text(each) == params["coefficients"])

    def full(self, trial: Trial) -> bool:
        """Whether it trains for as long as the recipe says."""
        return self.job(trial.params).epochs is None

    def scores(self, trials: Sequence[Trial]) -> list[tuple[float, ...]]:
        """Scores of full trainings, by candidate and in the order of seeds."""
        found: dict[Choice, dict[int, float]] = {}
        for trial in trials:
            if trial.state is State.DONE and trial.result is not None and self.full(trial):
                found.setdefault(trial.params["coefficients"], {})[int(trial.params["seed"])] = trial.result.score
        by_seed = [found.get(coefficients_text(each), {}) for each in self.candidates.kept]
        return [tuple(scores[seed] for seed in sorted(scores)) for scores in by_seed]


def coefficients_text(candidate: Candidate) -> str:
    """What a study's record calls a candidate."""
    return str(candidate.triples[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPlanner(CoefficientPlanner):
    """Trains every candidate from every seed (section 4 of the paper, step 1); each once before any again."""

    strategy: ClassVar[str] = "grid"

    def propose(self, past: Sequence[Trial]) -> Params | Pause:
        """The first training that is not among `past`."""
        tried = {(trial.params["coefficients"], trial.params["seed"]) for trial in past}
        left = (params for params in self._all() if (params["coefficients"], params["seed"]) not in tried)
        return next(left, Pause.END)

    def expected(self) -> Sequence[Job]:
        """All trainings."""
        return [self.job(params) for params in self._all()]

    def _all(self) -> list[Params]:
        texts = [coefficients_text(each) for each in self.candidates.kept]
        return [{"coefficients": text, "seed": seed} for seed in range(self.seeds) for text in texts]
