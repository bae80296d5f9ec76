"""The paper's strategy: a controller that learns by reinforcement which decisions are rewarded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from triscale.search.baseline.encoding import from_params
from triscale.search.baseline.planning import BaselinePlanner, Key, key, trial_reward
from triscale.search.baseline.ppo import Learner, Settings
from triscale.search.baseline.space import Architecture
from triscale.search.planner import Trial

Seen = tuple[Key, float]
"""A network and its reward."""


@dataclass(slots=True)
class _Replay:
    """What was learnt so far, so that the next generation need not begin at the first."""

    learner: Learner
    seen: list[Seen] = field(default_factory=list)
    sampled: list[Architecture] = field(default_factory=list)
    """The generation that follows `seen`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerPlanner(BaselinePlanner):
    """Samples each generation from a recurrent policy, which then learns its rewards by PPO.

    Nothing of the policy is stored: it is made again from the generations in the record. It may propose a network
    twice, which is trained once; that it does so often means that it has made up its mind.
    """

    strategy: ClassVar[str] = "controller"

    settings: Settings = field(default_factory=Settings)
    _replays: list[_Replay] = field(default_factory=list, init=False, repr=False, compare=False)
    """The latest one, if any."""

    def architecture(self, earlier: Sequence[Trial], current: Sequence[Trial]) -> Architecture:
        """From the policy that has learnt the earlier generations."""
        return self._sampled(earlier)[len(current)]

    def _sampled(self, earlier: Sequence[Trial]) -> list[Architecture]:
        """The generation after `earlier`, all at once."""
        seen = [(key(self.space, trial.params), trial_reward(trial)) for trial in earlier]
        replay = self._replays[0] if self._replays else None
        if replay is None or replay.seen != seen[: len(replay.seen)]:
            replay = _Replay(Learner(self.space, self.settings, seed=self.seed))
        if not replay.sampled or len(replay.seen) < len(seen):
            for begin in range(len(replay.seen), len(seen), self.generation):
                generation = earlier[begin : begin + self.generation]
                architectures = [from_params(self.space, trial.params) for trial in generation]
                replay.learner.learn(architectures, [trial_reward(trial) for trial in generation])
            replay.seen = seen
            replay.sampled = replay.learner.sample(self._noise(len(seen)))
        self._replays[:] = [replay]
        return replay.sampled

    def _noise(self, first: int) -> NDArray[np.float64]:
        """Of a generation's trials; each has randomness of its own."""
        shape = (len(self.space.positions), max(len(position.values) for position in self.space.positions))
        trials = range(first, first + self.generation)
        return np.stack([np.random.default_rng([self.seed, trial]).gumbel(size=shape) for trial in trials])
