"""Findings of a search: candidates, front, finalists, and the shape that a result file has."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from tests.search.baseline.searching import TINY, ended, run, tiny_space
from triscale.arch.codec import encode
from triscale.arch.spec import NetworkSpec
from triscale.cost import network_cost
from triscale.search.baseline.finalists import finalists
from triscale.search.baseline.planning import BaselinePlanner
from triscale.search.baseline.random_search import RandomPlanner
from triscale.search.baseline.reward import CostKind, Objective, macs
from triscale.search.baseline.summary import pareto_front, summary, top
from triscale.search.job import Result
from triscale.search.planner import Pause, State, Trial

OBJECTIVE = Objective(target=macs(TINY))


def planner(samples: int = 12) -> BaselinePlanner:
    return RandomPlanner(space=tiny_space(), objective=OBJECTIVE, samples=samples)


def score(spec: NetworkSpec) -> float | None:
    return None if spec.stages[1].kernel == 3 else 0.5 + 0.1 * sum(row.kernel == 5 for row in spec.stages)


def full_trainings(best: tuple[Trial, ...], scores: dict[str, float]) -> list[Trial]:
    """Two seeds each; the second scores one point more. Networks that `scores` does not name still run."""
    planned = finalists(TINY, [planner().job(trial.params).network for trial in best], seeds=2)
    trials: list[Trial] = []
    while not isinstance(params := planned.propose(trials), Pause):
        job = planned.job(params)
        trial = Trial(number=len(trials), params=params, state=State.RUNNING)
        if job.network.name in scores:
            result = Result(score=scores[job.network.name] + 0.01 * job.seed, images=10, seconds=1.0)
            trial = replace(trial, state=State.DONE, value=result.score, result=result)
        trials.append(trial)
    return trials


def test_candidates_front_and_the_best_so_far() -> None:
    trials = run(planner(40), score)
    found = summary(planner(40), [*trials, Trial(number=40, params=trials[0].params, state=State.RUNNING)])
    done = [trial for trial in trials if trial.state is State.DONE]
    assert 0 < len(done) < len(trials)
    assert [candidate.number for candidate in found.candidates] == [trial.number for trial in done]
    for candidate, trial in zip(found.candidates, done, strict=True):
        cost = network_cost(planner().job(trial.params).network)
        assert trial.result is not None
        assert (candidate.macs, candidate.params, candidate.score) == (cost.macs, cost.params, trial.result.score)
        assert candidate.value == trial.value
    rewards = [trial.value or 0.0 for trial in done]
    assert [value for _, value in found.best_so_far] == [max(rewards[: n + 1]) for n in range(len(rewards))]
    by_number = {candidate.number: candidate for candidate in found.candidates}
    front = [by_number[number] for number in found.front]
    assert [row.macs for row in front] == sorted(row.macs for row in front)
    for candidate in found.candidates:
        beaten = any(row.macs <= candidate.macs and row.score >= candidate.score for row in front)
        assert beaten, "everything is on the front or behind it"


def test_the_best_networks_are_different_ones() -> None:
    trials = run(planner(40), score)
    best = top(planner(40), trials, 3)
    values = sorted((trial.value for trial in trials if trial.value is not None), reverse=True)
    assert [trial.value for trial in best] == values[:3]
    again = Trial(number=40, params=dict(reversed(best[0].params.items())), state=State.RUNNING)
    assert top(planner(40), [*trials, ended(planner(), again, score)], 3) == best
    assert top(planner(40), trials[:1], 3) == tuple(trial for trial in trials[:1] if trial.state is State.DONE)


def test_finalists_are_ranked_by_their_full_trainings() -> None:
    trials = run(planner(40), score)
    best = top(planner(40), trials, 3)
    names = [planner().job(trial.params).network.name for trial in best]
    finals = full_trainings(best, {"tiny": 0.9, names[0]: 0.7, names[1]: 0.8})
    found = summary(planner(40), trials, best=best, finals=finals)
    assert [row.number for row in found.top] == [best[1].number, best[0].number, best[2].number]
    assert [row.file for row in found.top] == ["best-1.json", "best-2.json", "best-3.json"]
    assert found.top[0].scores == (0.8, 0.81)
    assert found.top[0].mean == pytest.approx(0.805)
    assert found.top[0].deviation == pytest.approx(0.01 / 2**0.5)
    assert (found.top[2].scores, found.top[2].mean, found.top[2].deviation) == ((), None, None)
    assert found.hand_made is not None
    assert (found.hand_made.name, found.hand_made.scores) == ("tiny", (0.9, 0.91))
    assert found.hand_made.macs == macs(TINY)


def test_cheaper_finalists_are_worth_more() -> None:
    trials = run(planner(40), score)
    ordered = sorted((trial for trial in trials if trial.state is State.DONE), key=lambda trial: trial.number)
    cheap, dear = sorted(ordered, key=lambda trial: macs(planner().job(trial.params).network))[:: len(ordered) - 1]
    names = [planner().job(trial.params).network.name for trial in (dear, cheap)]
    finals = full_trainings((dear, cheap), dict.fromkeys(names, 0.9))
    found = summary(planner(40), trials, best=(dear, cheap), finals=finals)
    assert [row.number for row in found.top] == [cheap.number, dear.number]


def test_the_shape_of_a_result_file() -> None:
    trials = run(planner(), score)
    best = top(planner(), trials, 1)
    written = json.loads(json.dumps(encode(summary(planner(), trials, best=best, finals=full_trainings(best, {})))))
    keys = "strategy target_macs target_ms exponent below cost candidates front top hand_made verdicts best_so_far"
    assert list(written) == keys.split()
    assert (written["strategy"], written["exponent"], written["cost"]) == ("random", -0.07, "macs")
    assert written["target_macs"] == macs(TINY)
    assert list(written["candidates"][0]) == ["number", "macs", "params", "score", "value", "latency_ms"]
    assert list(written["top"][0]) == ["number", "macs", "params", "scores", "mean", "deviation", "file"]
    assert list(written["hand_made"]) == ["name", "macs", "params", "scores", "mean", "deviation"]
    assert written["best_so_far"][0] == [written["candidates"][0]["number"], written["candidates"][0]["value"]]


def test_a_search_that_has_only_begun() -> None:
    found = summary(planner(), [])
    assert (found.candidates, found.front, found.top, found.hand_made, found.best_so_far) == ((), (), (), None, ())
    latency = replace(planner(), objective=Objective(target=5.0, kind=CostKind.LATENCY, cost=lambda _: 1.0))
    assert (summary(latency, []).target_macs, summary(latency, []).cost) == (None, CostKind.LATENCY)


@pytest.mark.parametrize(("exponent", "below"), [(-0.07, None), (-1.0, -0.5)])
def test_latencies_are_told_as_they_were_measured(exponent: float, below: float | None) -> None:
    def cost(spec: NetworkSpec) -> float:
        return macs(spec) / 1e5

    objective = Objective(target=macs(TINY) / 1e5, exponent=exponent, below=below, kind=CostKind.LATENCY, cost=cost)
    timed = RandomPlanner(space=tiny_space(), objective=objective, samples=12)
    for candidate in summary(timed, run(timed, score)).candidates:
        assert candidate.latency_ms == pytest.approx(candidate.macs / 1e5)
    hard = replace(timed, objective=replace(objective, exponent=-1.0, below=0.0))
    told = [candidate.latency_ms for candidate in summary(hard, run(hard, score)).candidates]
    assert None in told, "below a hard target the reward says nothing of the latency"


def test_pareto_front_by_hand() -> None:
    assert pareto_front([3, 1, 2, 2, 4], [0.9, 0.5, 0.7, 0.8, 0.9]) == (1, 3, 0)
    assert pareto_front([1, 1], [0.5, 0.5]) == (0,)
    assert pareto_front([], []) == ()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_nothing_on_the_front_is_beaten(points: list[tuple[int, int]]) -> None:
    front = pareto_front([cost for cost, _ in points], [score for _, score in points])
    on_front = {points[place] for place in front}
    unbeaten = {
        (cost, score)
        for cost, score in points
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)
    }
    assert on_front == unbeaten
    assert len(on_front) == len(front)
