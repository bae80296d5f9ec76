"""What grid, halving and guided search train, in which order."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from tests.search.coefficients.simulated import (
    TILTS,
    Score,
    baseline,
    ended,
    grid_planner,
    run,
    small_grid,
    surface_scores,
)
from triscale.search.coefficients import coefficient_search
from triscale.search.coefficients.guided import GuidedPlanner
from triscale.search.coefficients.halving import HalvingPlanner
from triscale.search.coefficients.planning import CoefficientPlanner, coefficients_text
from triscale.search.planner import Pause, State, Trial

SCORES = surface_scores(TILTS["balanced"], rounding=0.002, noise=0.004)


def halving(epochs: int = 9, seeds: int = 2) -> HalvingPlanner:
    return HalvingPlanner(candidates=small_grid(), step=0.1, tolerance=0.1, seeds=seeds, epochs=epochs)


def guided(seeds: int = 3, seed: int = 0) -> GuidedPlanner:
    return GuidedPlanner(candidates=small_grid(), step=0.1, tolerance=0.1, seeds=seeds, epochs=9, seed=seed)


FEW = {"alpha": (1.0, 1.1), "beta": (1.1, 1.3)}
"""Ranges that leave a handful of triples."""

PLANNERS = [grid_planner(), halving(), guided()]


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda planner: planner.strategy)
def test_nothing_is_trained_twice_and_parameters_are_choices(planner: CoefficientPlanner) -> None:
    past = run(planner, SCORES)
    params = [tuple(sorted(trial.params.items())) for trial in past]
    assert len(set(params)) == len(params)
    assert len(past) == len(planner.expected())
    for trial in past:
        assert set(trial.params) == set(planner.choices)
        for name, value in trial.params.items():
            assert value in planner.choices[name]
    assert planner.propose(past) is Pause.END
    keys = {planner.job(trial.params).key for trial in past}
    assert len(keys) == len(past)


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda planner: planner.strategy)
def test_a_study_that_goes_on_proposes_what_it_would_have(planner: CoefficientPlanner) -> None:
    past = run(planner, SCORES)
    fresh = replace(planner)
    for number, trial in enumerate(past):
        assert fresh.propose(past[:number]) == trial.params


@pytest.mark.parametrize("planner", PLANNERS[1:], ids=lambda planner: planner.strategy)
def test_results_on_their_way_are_waited_for(planner: CoefficientPlanner) -> None:
    past = run(planner, SCORES)
    waits = 0
    for number in range(1, len(past)):
        running = [*past[: number - 1], replace(past[number - 1], state=State.RUNNING, result=None, value=None)]
        proposed = planner.propose(running)
        if proposed is Pause.WAIT:
            waits += 1
        else:
            assert proposed == past[number].params, "what is still running changed the proposal"
    assert waits > 0


def test_the_grid_trains_all_of_it() -> None:
    past = run(grid_planner(seeds=2), SCORES)
    counts = Counter(trial.params["coefficients"] for trial in past)
    assert counts == dict.fromkeys(map(coefficients_text, small_grid().kept), 2)
    first = [trial.params["seed"] for trial in past[: len(small_grid().kept)]]
    assert set(first) == {0}


def test_the_rungs_of_halving() -> None:
    count = len(small_grid().kept)
    assert [tuple(rung) for rung in halving(epochs=9).rungs] == [
        (count, 1),
        (math.ceil(count / 3), 3),
        (max(2, math.ceil(count / 9)), 9),
    ]
    assert [rung.epochs for rung in halving(epochs=2).rungs] == [1, 2]
    assert [rung.epochs for rung in halving(epochs=1).rungs] == [1]


def test_halving_keeps_the_best_and_costs_a_third() -> None:
    planner = halving(epochs=9, seeds=2)
    past = run(planner, SCORES)
    epochs = sum(int(trial.params["epochs"]) for trial in past)
    assert epochs <= 0.5 * 9 * len(run(grid_planner(seeds=2), SCORES))
    means: dict[int, dict[str, float]] = {}
    for trial in past:
        assert trial.value is not None
        rung = means.setdefault(int(trial.params["epochs"]), {})
        rung[str(trial.params["coefficients"])] = rung.get(str(trial.params["coefficients"]), 0.0) + trial.value / 2
    for rung, after in zip(planner.rungs, planner.rungs[1:], strict=False):
        ranked = sorted(means[rung.epochs], key=lambda text: -means[rung.epochs][text])
        assert set(means[after.epochs]) == set(ranked[: after.candidates])
    full = [trial for trial in past if planner.full(trial)]
    assert {trial.params["epochs"] for trial in full} == {9}
    assert all(planner.job(trial.params).epochs is None for trial in full), "the grid's trainings are shared"


def test_halving_drops_what_fails() -> None:
    broken = coefficients_text(small_grid().kept[0])
    name = small_grid().kept[0].network.name
    scores: Score = lambda job: None if job.network.name == name else SCORES(job)  # noqa: E731
    past = run(halving(), scores)
    assert {trial.params["epochs"] for trial in past if trial.params["coefficients"] == broken} == {1}


def test_guided_trains_a_quarter_of_the_grid() -> None:
    planner = guided()
    whole = len(grid_planner().expected())
    assert planner.trainings == whole // 4
    past = run(planner, SCORES)
    spread = [trial.params["coefficients"] for trial in past[: len(planner.spread)]]
    assert len(set(spread)) == len(spread)
    assert all(count <= 3 for count in Counter(trial.params["coefficients"] for trial in past).values())


def test_guided_looks_into_every_corner_first() -> None:
    shares = [small_grid().kept[place].shares for place in guided().spread[:3]]
    all_shares = [each.shares for each in small_grid().kept]
    for place in range(3):
        assert max(share[place] for share in shares) >= max(share[place] for share in all_shares) - 0.05


def test_guided_goes_on_where_everything_failed() -> None:
    planner = guided()
    past = run(planner, lambda _job: None)
    assert len(past) == planner.trainings
    assert all(trial.state is State.FAILED for trial in past)


def test_what_is_drawn_depends_on_the_seed() -> None:
    one, two = (
        [trial.params for trial in run(guided(seed=seed), surface_scores(TILTS["flat"], noise=0.01))] for seed in (0, 1)
    )
    spread = len(guided().spread)
    assert one[:spread] == two[:spread]
    assert one != two


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"strategy": "greedy"}, "strategy must be one of grid, halving, guided, got 'greedy'$"),
        ({"seeds": 0}, "seeds must be at least 1, got 0$"),
        ({"epochs": 0}, "epochs must be at least 1, got 0$"),
        ({"strategy": "guided"}, r"too small for the guided strategy, which needs 24; train all .* grid$"),
    ],
)
def test_searches_that_make_no_sense(options: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        coefficient_search(baseline(), **{"step": 0.1, "epochs": 3, "ranges": FEW, **options})  # type: ignore[arg-type]


def test_progress_is_told_candidate_by_candidate() -> None:
    seen = []

    def watch(triples):  # type: ignore[no-untyped-def]
        for triple in triples:
            seen.append(triple)
            yield triple

    planner = coefficient_search(baseline(), step=0.1, epochs=3, ranges=FEW, watch=watch)
    assert sorted(seen) == sorted(
        [*(t for each in planner.candidates.kept for t in each.triples), *planner.candidates.left_out]
    )


def test_a_failed_training_has_no_score() -> None:
    planner = grid_planner(seeds=2)
    first = Trial(number=0, params=planner.propose([]), state=State.RUNNING)  # type: ignore[arg-type]
    assert planner.scores([first, ended(first, None)])[0] == ()
    assert planner.scores([ended(first, 0.5)])[0] == (0.5,)
