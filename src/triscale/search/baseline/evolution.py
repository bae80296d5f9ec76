"""Regularised evolution: the oldest dies, not the worst (Real et al. 2018, Algorithm 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from triscale.search.baseline.encoding import from_params, to_params
from triscale.search.baseline.planning import RETRIES, BaselinePlanner, key, keys, trial_reward, unseen
from triscale.search.baseline.space import Architecture, SearchSpace, Value, flat
from triscale.search.planner import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionPlanner(BaselinePlanner):
    """Changes one decision of the best among a few of the newest networks.

    The population is the `population` newest trials of complete generations, so that each newcomer takes the oldest
    one's place however good that was: a network that was lucky once does not stay. Until there are so many, networks
    are random.
    """

    strategy: ClassVar[str] = "evolution"

    population: int = 40
    tournament: int = 20
    """Members drawn at random, of which the best becomes a parent."""

    def __post_init__(self) -> None:
        # Slotted dataclasses are made anew, which breaks super() without arguments.
        BaselinePlanner.__post_init__(self)
        if self.population < 2:
            raise ValueError(f"population must be at least 2, got {self.population}")
        if not 1 <= self.tournament <= self.population:
            raise ValueError(f"tournament must lie in 1..{self.population}, the population, got {self.tournament}")

    def members(self, earlier: Sequence[Trial]) -> Sequence[Trial]:
        """The population, oldest first; empty while there are too few."""
        return earlier[-self.population :] if len(earlier) >= self.population else ()

    def architecture(self, earlier: Sequence[Trial], current: Sequence[Trial]) -> Architecture:
        """A child of the population, or a random network while there is none."""
        randomness = self.randomness(len(earlier) + len(current))
        seen = keys(self.space, (*earlier, *current))
        members = self.members(earlier)
        if not members:
            return unseen(self.space, randomness, seen)
        parent = max(randomness.sample(members, self.tournament), key=trial_reward)
        architecture = from_params(self.space, parent.params)
        child = mutated(self.space, architecture, randomness)
        for _ in range(RETRIES):
            if key(self.space, to_params(self.space, child)) not in seen:
                break
            child = mutated(self.space, architecture, randomness)
        return child


def mutated(space: SearchSpace, architecture: Architecture, randomness: Random) -> Architecture:
    """One decision that matters made differently; what matters only then is decided at random."""
    before = flat(architecture)
    places = [
        index
        for index, (value, position) in enumerate(zip(before, space.positions, strict=True))
        if value is not None and len(position.values) > 1
    ]
    changed = randomness.choice(places)

    def choose(index: int, values: tuple[Value, ...]) -> Value:
        was = before[index]
        if index == changed:
            return randomness.choice([value for value in values if value != was])
        return randomness.choice(values) if was is None else was

    return space.draw(choose)
