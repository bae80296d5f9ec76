"""A small baseline's candidates, and scores from a surface that is known."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec, square
from triscale.arch.zoo import get_network
from triscale.search.coefficients.candidates import Candidates, candidates
from triscale.search.coefficients.grid import coefficient_grid
from triscale.search.coefficients.planning import CoefficientPlanner, GridPlanner
from triscale.search.coefficients.surface import scheffe
from triscale.search.job import Job, Result
from triscale.search.planner import Pause, State, Trial

IMAGES = 10**6
Score = Callable[[Job], float | None]


@cache
def baseline() -> NetworkSpec:
    """EfficientNet-B0, shallower and narrower, for images of 48 pixels."""
    spec = scale(get_network("efficientnet-b0"), Coefficients(depth=0.5, width=0.25), name="small")
    return replace(spec, resolution=square(48))


@cache
def small_grid() -> Candidates:
    """Those of steps of 0.1."""
    return candidates(baseline(), coefficient_grid(step=0.1))


def grid_planner(seeds: int = 3) -> GridPlanner:
    return GridPlanner(candidates=small_grid(), step=0.1, tolerance=0.1, seeds=seeds, epochs=9)


TILTS = {
    "flat": (0.9, 0.9, 0.9, 0.0, 0.0, 0.0),
    "depth": (0.92, 0.88, 0.88, 0.0, 0.0, 0.0),
    "resolution": (0.87, 0.88, 0.92, 0.0, 0.0, 0.0),
    "balanced": (0.85, 0.85, 0.85, 0.1, 0.1, 0.1),
    "depth and width": (0.85, 0.86, 0.84, 0.15, 0.0, 0.02),
}
"""Scheffé coefficients."""


def surface_scores(terms: tuple[float, ...], *, rounding: float = 0.0, noise: float = 0.0, draw: int = 0) -> Score:
    """Of a candidate: the surface at its shares, something of its own, and the noise of the seed."""
    found = small_grid()
    own = np.random.default_rng(draw).normal(0, 1, len(found.kept))
    names = {each.network.name: place for place, each in enumerate(found.kept)}

    def score(job: Job) -> float:
        place = names[job.network.name]
        height = float((scheffe(np.array([found.kept[place].shares])) @ np.array(terms))[0])
        luck = np.random.default_rng([draw, place, job.seed, job.epochs or 0]).normal()
        return float(np.clip(height + rounding * own[place] + noise * luck, 0, 1))

    return score


def run(planner: CoefficientPlanner, score: Score, *, most: int = 10_000) -> list[Trial]:
    """Trials in the order that the planner asks for; a score of None is a training that failed."""
    past: list[Trial] = []
    while len(past) < most and not isinstance(params := planner.propose(past), Pause):
        past.append(ended(Trial(number=len(past), params=params, state=State.RUNNING), score(planner.job(params))))
    return past


def ended(trial: Trial, score: float | None) -> Trial:
    if score is None:
        return replace(trial, state=State.FAILED, error="its loss stayed infinite")
    return replace(trial, state=State.DONE, value=score, result=Result(score=score, images=IMAGES, seconds=1.0))
