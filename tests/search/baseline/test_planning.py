"""What all three strategies promise: the same proposals whatever happens to a study, and trainings that fit."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.search.baseline.searching import TINY, ended, run, run_side_by_side, tiny_space
from triscale.arch.spec import NetworkSpec, Operator
from triscale.search.baseline.controller import ControllerPlanner
from triscale.search.baseline.encoding import from_params, from_spec, to_params, to_spec
from triscale.search.baseline.evolution import EvolutionPlanner
from triscale.search.baseline.planning import BaselinePlanner
from triscale.search.baseline.random_search import RandomPlanner
from triscale.search.baseline.reward import Objective, macs
from triscale.search.baseline.space import SearchSpace
from triscale.search.job import Result
from triscale.search.planner import Params, Pause, Planner, State, Trial

OBJECTIVE = Objective(target=macs(TINY))


def controller(samples: int = 24, seed: int = 0) -> BaselinePlanner:
    return ControllerPlanner(space=tiny_space(), objective=OBJECTIVE, samples=samples, generation=6, seed=seed)


def evolution(samples: int = 24, seed: int = 0) -> BaselinePlanner:
    return EvolutionPlanner(
        space=tiny_space(),
        objective=OBJECTIVE,
        samples=samples,
        generation=6,
        seed=seed,
        population=10,
        tournament=4,
    )


def at_random(samples: int = 24, seed: int = 0) -> BaselinePlanner:
    return RandomPlanner(space=tiny_space(), objective=OBJECTIVE, samples=samples, generation=6, seed=seed)


Make = Callable[..., BaselinePlanner]
all_strategies = pytest.mark.parametrize("make", [controller, evolution, at_random])
learning = pytest.mark.parametrize("make", [controller, evolution])


def score(spec: NetworkSpec) -> float | None:
    """More kernels of 5 are better; networks that begin with a plain convolution fail."""
    return None if spec.stages[1].operator is Operator.CONV else 0.5 + 0.1 * sum(row.kernel == 5 for row in spec.stages)


def params_of(trials: Sequence[Trial]) -> list[Params]:
    return [trial.params for trial in trials]


@all_strategies
def test_proposals_are_of_the_space_and_end(make: Make) -> None:
    planner: Planner = make()
    trials = run(make(), score)
    assert len(trials) == 24
    assert planner.propose(trials) is Pause.END
    for trial in trials:
        assert all(trial.params[name] in values for name, values in planner.choices.items())
        assert to_params(tiny_space(), from_params(tiny_space(), trial.params)) == trial.params
    assert params_of(run(make(seed=1), score)) != params_of(trials)


@all_strategies
def test_a_killed_study_goes_on_as_if_nothing_had_happened(make: Make) -> None:
    whole = run(make(), score)
    assert {trial.state for trial in whole} == {State.DONE, State.FAILED}
    for begun in (1, 6, 11, 12, 23):
        assert run(make(), score, past=whole[:begun]) == whole


@all_strategies
@pytest.mark.parametrize("slots", [2, 5])
def test_the_order_in_which_trainings_end_changes_nothing(make: Make, slots: int) -> None:
    assert run_side_by_side(make(), score, slots=slots) == run(make(), score)


@learning
def test_a_planner_that_is_asked_of_another_study_remembers_nothing(make: Make) -> None:
    first = run(make(), score)
    second = run(make(), lambda spec: 0.1 + 0.1 * sum(row.kernel == 3 for row in spec.stages))
    planner = make()
    for trials in (first, second):
        for begun in (18, 12, 6, 18):
            assert planner.propose(trials[:begun]) == trials[begun].params


@learning
def test_results_of_a_generation_wait_for_the_next(make: Make) -> None:
    planner, whole = make(), run(make(), score)
    running = [replace(trial, state=State.RUNNING, value=None, result=None) for trial in whole]
    past = [*whole[:11], running[11]]
    assert planner.propose(past) is Pause.WAIT
    assert planner.propose(whole[:12]) == whole[12].params
    # Within a generation results do not count, whether they are there or not.
    assert planner.propose([*whole[:12], *running[12:15]]) == whole[15].params
    assert planner.propose(whole[:15]) == whole[15].params


@learning
def test_results_change_what_comes_next(make: Make) -> None:
    first = run(make(), score)
    second = run(make(), lambda spec: 0.1 + 0.1 * sum(row.kernel == 3 for row in spec.stages))
    begun = 6 if make is controller else 12
    assert params_of(first[:begun]) == params_of(second[:begun])
    assert params_of(first[begun:]) != params_of(second[begun:])


@all_strategies
def test_a_search_where_all_trainings_fail_goes_on(make: Make) -> None:
    assert len(run(make(), lambda _: None)) == 24


@pytest.mark.parametrize("make", [evolution, at_random])
def test_no_network_is_proposed_twice(make: Make) -> None:
    trials = run(make(samples=150), score)
    assert len({tuple(trial.params.values()) for trial in trials}) == 150


def test_a_small_space_may_be_used_up() -> None:
    stages = (TINY.stages[0], replace(TINY.stages[1], channels=8), TINY.stages[-1])
    one = SearchSpace.around(replace(TINY, stages=stages))
    planner = RandomPlanner(space=one, objective=OBJECTIVE, samples=one.size + 5)
    found = {tuple(trial.params.values()) for trial in run(planner, score)}
    assert 0.9 * one.size < len(found) <= one.size


def test_trainings_are_short_and_of_the_network() -> None:
    planner = RandomPlanner(space=tiny_space(), objective=OBJECTIVE, samples=3, epochs=2, training_seed=7)
    params = planner.propose([])
    assert not isinstance(params, Pause)
    job = planner.job(params)
    assert (job.epochs, job.seed) == (2, 7)
    assert replace(job.network, name="tiny") == to_spec(tiny_space(), from_params(tiny_space(), params))
    baseline = to_params(tiny_space(), from_spec(tiny_space(), TINY))
    assert planner.job(baseline).network == TINY
    result = Result(score=0.8, images=100, seconds=1.0)
    assert planner.value(baseline, result) == 0.8
    assert planner.value(params, result) == pytest.approx(0.8 * (macs(job.network) / macs(TINY)) ** -0.07)


def test_random_search_waits_for_nothing_and_knows_what_it_will_train() -> None:
    planner = at_random()
    trials: list[Trial] = []
    while not isinstance(params := planner.propose(trials), Pause):
        trials.append(Trial(number=len(trials), params=params, state=State.RUNNING))
    assert planner.expected() == [planner.job(trial.params) for trial in trials]
    assert len(controller().expected()) == 24


def test_random_search_makes_every_choice() -> None:
    trials = run(at_random(samples=200), score)
    for name, values in tiny_space().choices.items():
        assert {trial.params[name] for trial in trials} == set(values)


def test_the_order_of_recorded_parameters_does_not_matter() -> None:
    whole = run(evolution(), score)
    shuffled = []
    for trial in whole:
        items = list(trial.params.items())
        random.Random(trial.number).shuffle(items)
        shuffled.append(replace(trial, params=dict(items)))
    for planner in (evolution(), controller(), at_random()):
        assert planner.propose(shuffled[:18]) == planner.propose(whole[:18])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"generation": 0}, "generation must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"tournament": 41}, r"tournament must lie in 1\.\.40, the population, got 41"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvolutionPlanner(**{"space": tiny_space(), "objective": OBJECTIVE, "samples": 9, **changes})  # type: ignore[arg-type]


def test_failed_trainings_are_worth_nothing() -> None:
    params = to_params(tiny_space(), from_spec(tiny_space(), TINY))
    failed = ended(at_random(), Trial(number=0, params=params, state=State.RUNNING), lambda _: None)
    assert (failed.state, failed.value) == (State.FAILED, None)
