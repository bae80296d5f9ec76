"""The findings of a search for coefficients."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.search.coefficients.simulated import TILTS, grid_planner, run, small_grid, surface_scores
from tests.search.coefficients.test_planners import guided, halving
from triscale.arch.codec import encode
from triscale.search.coefficients import Triple, guided_on_grid, summary
from triscale.search.coefficients.surface import scheffe
from triscale.search.planner import State
from triscale.search.statistics import difference, mean_interval, pooled_deviation

NOISY = surface_scores(TILTS["depth and width"], rounding=0.002, noise=0.004)


def test_the_best_of_a_grid_and_what_noise_does_not_tell_from_it() -> None:
    planner = grid_planner()
    trials = run(planner, NOISY)
    found = summary(planner, trials)
    scores = planner.scores(trials)
    place = int(np.argmax([np.mean(each) for each in scores]))
    pooled = pooled_deviation(scores, images=10**6)
    interval = mean_interval(scores[place], pooled=pooled)
    assert found.best is not None
    assert interval is not None
    assert (found.best.alpha, found.best.beta, found.best.gamma) == small_grid().kept[place].triples[0]
    assert (found.best.low, found.best.high) == (interval.low, interval.high)
    close = set()
    for other, each in enumerate(small_grid().kept):
        gap = difference(scores[place], scores[other], comparisons=len(scores) - 1, pooled=pooled)
        assert gap is not None
        if gap.within_noise:
            close |= set(each.triples)
    assert set(found.indistinguishable) == close - {small_grid().kept[place].triples[0]}


def test_every_triple_of_the_grid_has_a_row() -> None:
    planner = grid_planner()
    found = summary(planner, run(planner, NOISY))
    rows = [Triple(row.alpha, row.beta, row.gamma) for row in found.candidates]
    assert sorted(rows) == sorted(triple for each in small_grid().kept for triple in each.triples)
    for row in found.candidates:
        assert len(row.scores) == 3
        assert row.mean == pytest.approx(np.mean(row.scores))
        assert row.standard_error == pytest.approx(found.candidates[0].standard_error)
        assert row.adjusted == pytest.approx(row.mean, abs=0.003), "multiply-adds differ by little"


def test_the_surface_s_optimum_and_where_it_may_lie() -> None:
    planner = grid_planner()
    found = summary(planner, run(planner, NOISY))
    surface = found.surface
    assert surface is not None
    best = surface.optimum
    assert best.alpha * best.beta**2 * best.gamma**2 == pytest.approx(2)
    assert best.low is not None
    assert best.high is not None
    assert best.low < best.mean < best.high
    for value, low_high in ((best.alpha, surface.alpha), (best.beta, surface.beta), (best.gamma, surface.gamma)):
        assert low_high.low - 1e-9 <= value <= low_high.high + 1e-9
    truth = max(scheffe(np.array([each.shares for each in small_grid().kept])) @ np.array(TILTS["depth and width"]))
    assert best.low - 0.005 <= truth <= best.high + 0.005


def test_halving_tells_of_full_trainings_only() -> None:
    planner = halving()
    trials = run(planner, NOISY)
    found = summary(planner, trials)
    trained = {trial.params["coefficients"] for trial in trials if trial.params["epochs"] == 9}
    told = {str(Triple(row.alpha, row.beta, row.gamma)) for row in found.candidates if row.mean is not None}
    assert trained <= told
    assert len(told) < len(found.candidates)
    assert found.best is not None
    assert found.surface is None


def test_a_search_that_has_just_begun() -> None:
    planner = grid_planner()
    trials = run(planner, NOISY, most=2)
    nothing = summary(planner, [])
    assert (nothing.best, nothing.surface, nothing.indistinguishable) == (None, None, ())
    two = summary(planner, trials)
    assert two.best is not None
    assert two.best.low is None, "one seed each says nothing of noise"
    chosen = next(
        each for each in small_grid().kept if Triple(two.best.alpha, two.best.beta, two.best.gamma) in each.triples
    )
    assert two.indistinguishable == chosen.triples[1:], "the same network is as good, and of others nothing is known"


@pytest.mark.parametrize("planner", [grid_planner(), halving(), guided()], ids=lambda planner: planner.strategy)
def test_findings_go_into_a_result_file(planner) -> None:  # type: ignore[no-untyped-def]
    written = json.loads(json.dumps(encode(summary(planner, run(planner, NOISY))), allow_nan=False))
    assert written["strategy"] == planner.strategy
    assert len(written["candidates"]) == sum(len(each.triples) for each in small_grid().kept)


@pytest.mark.parametrize("tilt", TILTS)
def test_guided_finds_what_the_grid_finds_for_a_quarter(tilt: str) -> None:
    """On every surface, noisy as real trainings are, and clearly better than looking at as many at random."""
    planner = grid_planner()
    lost, by_chance, within = [], [], 0
    for draw in range(4):
        trials = run(planner, surface_scores(TILTS[tilt], rounding=0.002, noise=0.003, draw=draw))
        found = guided_on_grid(planner, trials, seed=draw)
        assert found.trainings <= found.whole / 4
        within += found.within_noise
        lost.append(found.best - found.score)
        scores = planner.scores(trials)
        generator = np.random.default_rng(draw)
        for _ in range(50):
            seen: dict[int, list[float]] = {}
            for number in generator.permutation(3 * len(scores))[: found.trainings]:
                seen.setdefault(int(number) // 3, []).append(scores[number // 3][number % 3])
            chosen = max(seen, key=lambda place: float(np.mean(seen[place])))
            by_chance.append(found.best - float(np.mean(scores[chosen])))
    assert within == 4
    if tilt != "flat":
        assert np.mean(lost) < 0.6 * np.mean(by_chance)


def test_only_a_whole_grid_is_replayed() -> None:
    planner = grid_planner()
    trials = run(planner, NOISY)
    with pytest.raises(ValueError, match=rf"{len(trials) - 1} of {len(trials)} trainings .* finish it first"):
        guided_on_grid(planner, trials[:-1])
    running = replace(trials[0], state=State.RUNNING, value=None, result=None)
    with pytest.raises(ValueError, match="finish it first"):
        guided_on_grid(planner, [running, *trials[1:]])
