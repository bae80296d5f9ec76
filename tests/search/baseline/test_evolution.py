"""Regularised evolution: one change at a time, the oldest dies."""

import random
from dataclasses import replace

from hypothesis import given, strategies as st

from tests.search.baseline.searching import TINY, architectures, run, tiny_space
from triscale.arch.spec import NetworkSpec
from triscale.search.baseline.encoding import from_params
from triscale.search.baseline.evolution import EvolutionPlanner, mutated
from triscale.search.baseline.reward import Objective, macs
from triscale.search.baseline.space import Architecture, flat
from triscale.search.planner import Trial


def planner(samples: int, *, tournament: int = 12) -> EvolutionPlanner:
    return EvolutionPlanner(
        space=tiny_space(),
        objective=Objective(target=macs(TINY)),
        samples=samples,
        generation=4,
        population=12,
        tournament=tournament,
    )


def changes(first: Architecture, second: Architecture) -> int:
    """How many decisions that both made differ."""
    pairs = zip(flat(first), flat(second), strict=True)
    return sum(a != b for a, b in pairs if a is not None and b is not None)


@given(architectures(tiny_space()), st.integers(0, 1000))
def test_a_mutation_changes_one_decision(parent: Architecture, seed: int) -> None:
    child = mutated(tiny_space(), parent, random.Random(seed))
    assert changes(parent, child) == 1


def test_mutations_reach_the_whole_space() -> None:
    space, randomness = tiny_space(), random.Random(0)
    architecture = space.draw(lambda _, values: values[0])
    seen: list[set[object]] = [set() for _ in space.positions]
    for _ in range(2000):
        architecture = mutated(space, architecture, randomness)
        for values, value in zip(seen, flat(architecture), strict=True):
            values.add(value)
    for values, position in zip(seen, space.positions, strict=True):
        assert values - {None} == set(position.values)


def score(spec: NetworkSpec) -> float:
    return 0.5 + 0.1 * sum(row.kernel == 5 for row in spec.stages)


def test_children_come_from_the_best_of_the_newest() -> None:
    trials = run(planner(40), score)
    # The first network is made the best by far; once the population is made of younger ones, nobody descends from it.
    lucky = [replace(trials[0], value=9.0), *trials[1:]]
    space = tiny_space()

    def nearest(past: list[Trial], number: int) -> bool:
        """Whether the proposal after `past` is one change away from trial `number`."""
        params = planner(40).propose(past)
        assert isinstance(params, dict)
        return changes(from_params(space, past[number].params), from_params(space, params)) == 1

    assert planner(40).members(lucky[:8]) == ()
    assert planner(40).members(lucky[:12]) == lucky[:12]
    assert planner(40).members(lucky[:20]) == lucky[8:20]
    assert nearest(lucky[:12], 0)
    assert not nearest(lucky[:20], 0)
    best = max(range(8, 20), key=lambda number: lucky[number].value or 0.0)
    assert nearest(lucky[:20], best)


def test_a_small_tournament_gives_others_a_chance() -> None:
    trials = run(planner(12), score)
    trials[3] = replace(trials[3], value=9.0)
    space = tiny_space()
    parents = set()
    for seed in range(40):
        params = replace(planner(40, tournament=2), seed=seed).propose(trials)
        assert isinstance(params, dict)
        child = from_params(space, params)
        parents |= {n for n, trial in enumerate(trials) if changes(from_params(space, trial.params), child) == 1}
    assert 3 in parents
    assert len(parents) > 3


def test_evolution_improves() -> None:
    trials = run(planner(120, tournament=6), score)
    values = [trial.value or 0.0 for trial in trials]
    assert sum(values[-12:]) > 1.1 * sum(values[:12])
