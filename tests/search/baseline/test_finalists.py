"""Full trainings: each network once before any again, the hand-made one among them."""

from dataclasses import replace

import pytest

from tests.search.baseline.searching import TINY
from triscale.search.baseline.finalists import FinalistsPlanner, finalists
from triscale.search.job import Result
from triscale.search.planner import Pause, Planner, State, Trial

OTHER = replace(TINY, name="other", stages=(*TINY.stages[:2], TINY.stages[-1]))


def test_every_network_is_trained_from_every_seed() -> None:
    planner: Planner = finalists(TINY, [OTHER], seeds=2)
    trials: list[Trial] = []
    while not isinstance(params := planner.propose(trials), Pause):
        trials.append(Trial(number=len(trials), params=params, state=State.RUNNING))
    assert params is Pause.END
    found = [(job.network, job.seed, job.epochs) for job in map(planner.job, (trial.params for trial in trials))]
    assert found == [(TINY, 0, None), (OTHER, 0, None), (TINY, 1, None), (OTHER, 1, None)]
    assert planner.expected() == [planner.job(trial.params) for trial in trials]
    assert planner.choices == {"network": ("tiny", "other"), "seed": (0, 1)}
    assert planner.value(trials[0].params, Result(score=0.9, images=10, seconds=1.0)) == 0.9


def test_the_baseline_comes_once() -> None:
    assert finalists(TINY, [replace(TINY, name="found"), OTHER], seeds=1).networks == (TINY, OTHER)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        finalists(TINY, [], seeds=0)
    with pytest.raises(ValueError, match="tiny is among the networks 2 times; give each a name of its own"):
        finalists(TINY, [replace(OTHER, name="tiny")], seeds=1)
    with pytest.raises(ValueError, match="there are no networks to train in full"):
        FinalistsPlanner(networks=(), seeds=1)
