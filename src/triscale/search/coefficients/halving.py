"""Successive halving: all candidates train for a few epochs, the best for more (Jamieson and Talwalkar, 2016)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar, Final, NamedTuple

import numpy as np

from triscale.search.coefficients.planning import CoefficientPlanner, coefficients_text
from triscale.search.job import Job
from triscale.search.planner import Choice, Params, Pause, State, Trial

FACTOR: Final = 3
"""From rung to rung epochs grow by it, and candidates shrink."""
RUNGS: Final = 3
LAST: Final = 2
"""Candidates that are trained in full, at least."""


class Rung(NamedTuple):
    """How many candidates are trained for how long."""

    candidates: int
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvingPlanner(CoefficientPlanner):
    """Trains all candidates for a ninth of the epochs, the best third for a third, the best ninth in full.

    Every training begins anew, since a schedule belongs to its number of epochs. All seeds are trained on every rung,
    and a rung is begun when the one before has ended. Together that costs about a third of the grid.
    """

    strategy: ClassVar[str] = "halving"

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """From short trainings of all candidates to full ones of a few."""
        found = []
        for rung in range(RUNGS):
            epochs = max(1, -(-self.epochs // FACTOR ** (RUNGS - 1 - rung)))
            count = max(min(LAST, len(self.candidates.kept)), -(-len(self.candidates.kept) // FACTOR**rung))
            found.append(Rung(count, epochs))
        # Recipes of very few epochs have the same rung twice; the later one has fewer candidates.
        return tuple(one for one, after in pairwise((*found, Rung(0, 0))) if one.epochs != after.epochs)

    @property
    def choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """Coefficients, seeds and epochs."""
        return {
            "coefficients": tuple(map(coefficients_text, self.candidates.kept)),
            "seed": tuple(range(self.seeds)),
            "epochs": tuple(rung.epochs for rung in self.rungs),
        }

    def job(self, params: Params) -> Job:
        """A short training, or the full one."""
        epochs = int(params["epochs"])
        return Job(
            network=self.candidate(params).network,
            seed=int(params["seed"]),
            epochs=None if epochs == self.epochs else epochs,
        )

    def propose(self, past: Sequence[Trial]) -> Params | Pause:
        """The next training of the rung; waits at its end until all of it is known."""
        texts = [coefficients_text(each) for each in self.candidates.kept]
        begin = 0
        for number, rung in enumerate(self.rungs):
            if number:
                texts = self._best(past[:begin], texts, epochs=self.rungs[number - 1].epochs)[: rung.candidates]
            planned = [(text, seed) for seed in range(self.seeds) for text in texts]
            if len(past) < begin + len(planned):
                text, seed = planned[len(past) - begin]
                return {"coefficients": text, "seed": seed, "epochs": rung.epochs}
            begin += len(planned)
            if number + 1 < len(self.rungs) and any(trial.state is State.RUNNING for trial in past[:begin]):
                return Pause.WAIT
        return Pause.END

    def expected(self) -> Sequence[Job]:
        """Every rung, as if the first candidates were the best."""
        texts = [coefficients_text(each) for each in self.candidates.kept]
        return [
            self.job({"coefficients": text, "seed": seed, "epochs": rung.epochs})
            for rung in self.rungs
            for seed in range(self.seeds)
            for text in texts[: rung.candidates]
        ]

    def _best(self, past: Sequence[Trial], texts: Sequence[str], *, epochs: int) -> list[str]:
        """`texts` by their mean after `epochs`, the best first; those that failed are left out."""
        scores: dict[Choice, list[float]] = {}
        for trial in past:
            if trial.result is not None and trial.params["epochs"] == epochs:
                scores.setdefault(trial.params["coefficients"], []).append(trial.result.score)
        return sorted((text for text in texts if text in scores), key=partial(_mean_first, scores))


def _mean_first(scores: Mapping[Choice, list[float]], text: str) -> float:
    return -float(np.mean(scores[text]))
