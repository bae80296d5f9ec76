"""What the three strategies share: samples, generations, and how a proposal becomes a training and a reward."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from triscale.search.baseline.encoding import from_params, named, to_params, to_spec
from triscale.search.baseline.reward import Objective
from triscale.search.baseline.space import Architecture, SearchSpace
from triscale.search.job import Job, Result
from triscale.search.planner import Choice, Params, Pause, State, Trial

RETRIES: Final = 100
"""How often a proposal that was made before is made anew; a small space may hold nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselinePlanner(ABC):
    """Samples networks of a space, generation by generation.

    A trial depends on its number, the seed, and the results of complete earlier generations, so that the order in
    which trainings end changes nothing. A generation is begun when all trials before it have ended; one of a multiple
    of the executor's slots leaves few of them idle. A training that failed counts as a reward of 0.
    """

    strategy: ClassVar[str]
    """What results call it."""

    space: SearchSpace
    objective: Objective
    samples: int
    """Networks tried in all."""
    generation: int = 20
    """Networks tried between two looks at results."""
    seed: int = 0
    """Of what is proposed."""
    training_seed: int = 0
    epochs: int | None = None
    """Of each training; None for those of the recipe."""

    def __post_init__(self) -> None:
        for name, value in (("samples", self.samples), ("generation", self.generation)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")

    @property
    def choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """The space's decisions and their values."""
        return self.space.choices

    def propose(self, past: Sequence[Trial]) -> Params | Pause:
        """The next network's decisions; waits for the generations before it where results matter."""
        number = len(past)
        if number >= self.samples:
            return Pause.END
        earlier = past[: number - number % self.generation]
        if self.learns and any(trial.state is State.RUNNING for trial in earlier):
            return Pause.WAIT
        return to_params(self.space, self.architecture(earlier, past[len(earlier) :]))

    def job(self, params: Params) -> Job:
        """The training of a network, which is called after the baseline and its own rows."""
        network = named(self.space, from_params(self.space, params))
        return Job(network=network, seed=self.training_seed, epochs=self.epochs)

    def value(self, params: Params, result: Result) -> float:
        """The reward."""
        return self.objective.reward(result.score, to_spec(self.space, from_params(self.space, params)))

    def expected(self) -> Sequence[Job]:
        """Random networks of the space: what is proposed later is not known before."""
        seen: set[Key] = set()
        jobs = []
        for number in range(self.samples):
            params = to_params(self.space, unseen(self.space, self.randomness(number), seen))
            seen.add(key(self.space, params))
            jobs.append(self.job(params))
        return jobs

    @property
    def learns(self) -> bool:
        """Whether results decide what is proposed."""
        return True

    @abstractmethod
    def architecture(self, earlier: Sequence[Trial], current: Sequence[Trial]) -> Architecture:
        """The next one, from complete generations and trials of its own generation, whose results do not count."""

    def randomness(self, number: int) -> random.Random:
        """The randomness of a trial."""
        return random.Random(f"{self.seed} {number}")


Key = tuple[Choice, ...]
"""Tells proposals apart."""


def key(space: SearchSpace, params: Params) -> Key:
    """Of a proposal; equal networks have equal parameters, which a record may hold in any order."""
    return tuple([params[position.name] for position in space.positions])


def keys(space: SearchSpace, trials: Iterable[Trial]) -> set[Key]:
    """Of all that was proposed."""
    return {key(space, trial.params) for trial in trials}


def trial_reward(trial: Trial) -> float:
    """What a strategy learns from a trial that has ended."""
    assert trial.state is not State.RUNNING
    return trial.value if trial.value is not None else 0.0


def unseen(space: SearchSpace, randomness: random.Random, seen: set[Key]) -> Architecture:
    """Decisions made at random, each value as likely as the others; a network that is not in `seen` where possible."""
    architecture = space.draw(lambda _, values: randomness.choice(values))
    for _ in range(RETRIES):
        if key(space, to_params(space, architecture)) not in seen:
            break
        architecture = space.draw(lambda _, values: randomness.choice(values))
    return architecture
