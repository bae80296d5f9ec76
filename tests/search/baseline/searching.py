"""A small space, and searches of it without trainings."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from hypothesis import strategies as st

from triscale.arch.rows import conv, mbconv
from triscale.arch.spec import NetworkSpec, square
from triscale.search.baseline.planning import BaselinePlanner
from triscale.search.baseline.space import Architecture, SearchSpace
from triscale.search.job import Result
from triscale.search.planner import Pause, State, Trial

TINY = NetworkSpec(
    "tiny",
    square(14),
    stages=(
        conv(3, 1, 8),
        #      k  s  e  channels layers
        mbconv(3, 1, 1, 8, 1, se_ratio=0.25),
        mbconv(3, 2, 6, 16, 2, se_ratio=0.25),
        mbconv(5, 2, 6, 40, 2),
        conv(1, 1, 64),
    ),
    classes=10,
)
"""Three stages to search; rounding leaves the first two fewer widths than three."""


@cache
def tiny_space() -> SearchSpace:
    return SearchSpace.around(TINY)


def architectures(space: SearchSpace) -> st.SearchStrategy[Architecture]:
    """All of them."""
    return st.composite(lambda draw: space.draw(lambda _, values: draw(st.sampled_from(values))))()


Score = Callable[[NetworkSpec], float | None]
"""None for a training that fails."""


def ended(planner: BaselinePlanner, trial: Trial, score: Score) -> Trial:
    """`trial` after its training."""
    worth = score(planner.job(trial.params).network)
    if worth is None:
        return replace(trial, state=State.FAILED, error="unlucky")
    result = Result(score=worth, images=1000, seconds=1.0)
    return replace(trial, state=State.DONE, result=result, value=planner.value(trial.params, result))


def run(planner: BaselinePlanner, score: Score, *, past: Sequence[Trial] = (), most: int = 10**6) -> list[Trial]:
    """Trials one after another, after `past`."""
    trials = list(past)
    while len(trials) < most and not isinstance(params := planner.propose(trials), Pause):
        trials.append(ended(planner, Trial(number=len(trials), params=params, state=State.RUNNING), score))
    return trials


def run_side_by_side(planner: BaselinePlanner, score: Score, *, slots: int) -> list[Trial]:
    """So many trials at a time; the last one that was begun ends first."""
    trials: list[Trial] = []
    running: list[int] = []
    while True:
        proposed = planner.propose(trials) if len(running) < slots else Pause.WAIT
        if not isinstance(proposed, Pause):
            running.append(len(trials))
            trials.append(Trial(number=len(trials), params=proposed, state=State.RUNNING))
        elif running:
            number = running.pop()
            trials[number] = ended(planner, trials[number], score)
        else:
            assert proposed is Pause.END
            return trials
