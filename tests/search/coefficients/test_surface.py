"""The fitted surface: against the plain Gaussian process it is, and on surfaces that are known."""

import numpy as np
import pytest

from tests.search.coefficients.simulated import TILTS, grid_planner, run, small_grid, surface_scores
from triscale.search.coefficients.scored import scored
from triscale.search.coefficients.surface import Fit, Scored, fit, peak, scheffe


def known(terms: tuple[float, ...], **noise: float) -> tuple[Scored, ...]:
    planner = grid_planner()
    return scored(planner, run(planner, surface_scores(terms, **noise)))  # type: ignore[arg-type]


def predicted(found: Fit) -> np.ndarray:  # type: ignore[type-arg]
    shares = np.array([each.shares for each in small_grid().kept])
    values: np.ndarray = scheffe(shares) @ found.terms  # type: ignore[type-arg]
    return values


@pytest.mark.parametrize("name", TILTS)
def test_a_surface_without_noise_is_found_again(name: str) -> None:
    terms = TILTS[name]
    data = known(terms)
    found = fit(data)
    shares = np.array([each.shares for each in data])
    assert predicted(found) == pytest.approx(scheffe(shares) @ np.array(terms), abs=0.0005)
    assert found.means == pytest.approx([np.mean(each.scores) for each in data], abs=0.0005)
    assert found.scatter < 0.001
    assert found.trainings == sum(len(each.scores) for each in data)


@pytest.mark.parametrize("name", ["depth", "balanced", "depth and width"])
def test_the_optimum_is_where_the_surface_is_highest(name: str) -> None:
    data = known(TILTS[name], noise=0.002, rounding=0.001)
    top = peak(fit(data), data)
    shares = np.array([each.shares for each in data])
    truth = scheffe(shares) @ np.array(TILTS[name])
    height = float((scheffe(np.array([top.shares])) @ np.array(TILTS[name]))[0])
    assert height >= truth.max() - 0.003
    assert top.height == pytest.approx(height, abs=4 * top.deviation)
    assert all(
        low - 1e-9 <= share <= high + 1e-9
        for share, low, high in zip(top.shares, shares.min(0), shares.max(0), strict=True)
    )


def test_the_parts_of_noise_are_told_apart() -> None:
    seeds = [fit(known(TILTS["depth"], noise=0.01, draw=draw)) for draw in range(5)]
    rounding = [fit(known(TILTS["depth"], rounding=0.01, noise=0.001, draw=draw)) for draw in range(5)]
    assert np.mean([each.noise for each in seeds]) == pytest.approx(0.01, rel=0.3)
    assert np.mean([each.rounding for each in seeds]) < 0.006
    assert np.mean([each.rounding for each in rounding]) == pytest.approx(0.01, rel=0.5)
    assert np.mean([each.noise for each in rounding]) == pytest.approx(0.001, rel=0.5)


def test_expected_scores_are_those_of_the_gaussian_process() -> None:
    """Written out over single trainings, with the deviations that `fit` chose; the mean alone is taken off before."""
    data = list(known(TILTS["balanced"], noise=0.005, rounding=0.003))
    data[3] = Scored(shares=data[3].shares, excess=data[3].excess, scores=())
    found = fit(data)
    places = [place for place, each in enumerate(data) for _ in each.scores]
    scores = np.array([score for each in data for score in each.scores])
    shares = np.array([each.shares for each in data])
    excess = np.array([each.excess for each in data])
    best = None
    for surface in np.geomspace(0.06, 16.0, 10) * 0.03:
        among = 1.0 + surface**2 * (
            shares @ shares.T + 16 * scheffe(shares)[:, 3:] @ scheffe(shares)[:, 3:].T + np.outer(excess, excess)
        )
        among += found.rounding**2 * np.eye(len(data))
        observed = among[np.ix_(places, places)] + found.noise**2 * np.eye(len(scores))
        means = scores.mean() + among[:, places] @ np.linalg.solve(observed, scores - scores.mean())
        covariance = among - among[:, places] @ np.linalg.solve(observed, among[places])
        miss = max(np.abs(means - found.means).max(), np.abs(covariance - found.candidates_covariance).max())
        best = miss if best is None else min(best, miss)
    assert best == pytest.approx(0, abs=1e-9), "no deviation of the surface gives what fit says"


def test_what_is_not_trained_is_less_certain() -> None:
    data = list(known(TILTS["balanced"], noise=0.005, rounding=0.003))
    left_out = 4
    data[left_out] = Scored(shares=data[left_out].shares, excess=data[left_out].excess, scores=())
    without = np.diag(fit(data).candidates_covariance)
    data[left_out] = known(TILTS["balanced"], noise=0.005, rounding=0.003)[left_out]
    with_it = np.diag(fit(data).candidates_covariance)
    assert without[left_out] > 1.5 * with_it[left_out]


def test_one_training_is_enough_to_begin_with() -> None:
    first, *others = known(TILTS["depth"])
    data = (
        Scored(shares=first.shares, excess=0.0, scores=(0.8,)),
        *(Scored(shares=each.shares, excess=0.0, scores=()) for each in others),
    )
    found = fit(data)
    assert found.means[0] == pytest.approx(0.8)
    assert np.all(np.isfinite(found.means))
    assert found.trainings == 1
