"""The surface-guided search: what is trained next is what may be the best, by all that is known so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from triscale.search.coefficients.planning import CoefficientPlanner, coefficients_text
from triscale.search.coefficients.scored import scored
from triscale.search.coefficients.surface import Array, fit
from triscale.search.job import Job
from triscale.search.planner import Params, Pause, State, Trial

SHARE: Final = 4
"""The whole grid would take so many times the trainings."""
FEWEST: Final = 6
"""Trainings that a surface needs."""
BATCH: Final = 8
"""A batch is this part of all trainings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedPlanner(CoefficientPlanner):
    """Trains at most a quarter as often as the grid, where a fitted surface says that the best may lie.

    Half of the trainings are spread over the grid, each candidate as far as possible from those before it. Then every
    batch draws surfaces that fit what is known, and trains the best candidate of each (Thompson sampling): one that is
    probably the best is trained from more seeds, one that is little known is looked at.
    """

    strategy: ClassVar[str] = "guided"

    seed: int = 0
    """Of what is drawn."""

    def __post_init__(self) -> None:
        # Slotted dataclasses are made anew, which breaks super() without arguments.
        CoefficientPlanner.__post_init__(self)
        if self.trainings < FEWEST:
            whole = len(self.candidates.kept) * self.seeds
            raise ValueError(
                f"a grid of {len(self.candidates.kept)} networks, {whole} trainings, is too "
                f"small for the guided strategy, which needs {SHARE * FEWEST}; train all of it with --strategy grid"
            )

    @property
    def trainings(self) -> int:
        """How many there are in all."""
        return len(self.candidates.kept) * self.seeds // SHARE

    @property
    def spread(self) -> tuple[int, ...]:
        """Candidates of the first half, by their place: far apart, those nearest the corners first."""
        points = np.array([each.shares for each in scored(self, ())])
        chosen: list[int] = []
        distance = np.full(len(points), np.inf)
        for corner in np.eye(3):
            _choose(points, chosen, distance, int(np.argmin(np.linalg.norm(points - corner, axis=1))))
        while len(chosen) < min(max(FEWEST, self.trainings // 2), len(points)):
            _choose(points, chosen, distance, int(np.argmax(distance)))
        return tuple(chosen)

    def propose(self, past: Sequence[Trial]) -> Params | Pause:
        """The next training; waits for the batch before."""
        number, spread = len(past), self.spread
        if number >= self.trainings:
            return Pause.END
        if number < len(spread):
            return self._params(spread[number], seed=0)
        batch = max(2, self.trainings // BATCH)
        known = number - (number - len(spread)) % batch
        if any(trial.state is State.RUNNING for trial in past[:known]):
            return Pause.WAIT
        planned = self._batch(past[:known], batch)
        return planned[number - known] if number - known < len(planned) else Pause.END

    def expected(self) -> Sequence[Job]:
        """As many trainings as there will be, of candidates in turn."""
        count = len(self.candidates.kept)
        return [self.job(self._params(number % count, seed=number // count)) for number in range(self.trainings)]

    def _batch(self, known: Sequence[Trial], size: int) -> list[Params]:
        """The trainings that follow `known`, all of which have ended."""
        texts = [coefficients_text(each) for each in self.candidates.kept]
        tried = [sum(trial.params["coefficients"] == text for trial in known) for text in texts]
        everything = scored(self, known)
        generator = np.random.default_rng([self.seed, len(known)])
        if any(each.scores for each in everything):
            found = fit(everything)
            draws = generator.multivariate_normal(found.means, found.candidates_covariance, size=size, method="eigh")
        else:
            draws = generator.normal(size=(size, len(texts)))
        planned = []
        for draw in draws:
            open_ = [place for place, count in enumerate(tried) if count < self.seeds]
            if open_:
                place = max(open_, key=lambda place: draw[place])
                planned.append(self._params(place, seed=tried[place]))
                tried[place] += 1
        return planned

    def _params(self, place: int, *, seed: int) -> Params:
        return {"coefficients": coefficients_text(self.candidates.kept[place]), "seed": seed}


def _choose(points: Array, chosen: list[int], distance: Array, place: int) -> None:
    """Take `place`, and note how far every point is from what was taken."""
    if place not in chosen:
        chosen.append(place)
        np.minimum(distance, np.linalg.norm(points - points[place], axis=1), out=distance)
