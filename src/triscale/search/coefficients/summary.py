"""What a search for coefficients has shown: the best candidate, those as good as it, and the surface through all."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from triscale.search.coefficients.candidates import Candidate
from triscale.search.coefficients.grid import Triple
from triscale.search.coefficients.guided import GuidedPlanner
from triscale.search.coefficients.planning import CoefficientPlanner
from triscale.search.coefficients.scored import scored
from triscale.search.coefficients.shares import Shares, triple_of
from triscale.search.coefficients.surface import Fit, Peak, Scored, fit, peak
from triscale.search.planner import State, Trial
from triscale.search.statistics import Pooled, difference, mean, mean_interval, pooled_deviation

FEWEST: Final = 6
"""Candidates that a surface is drawn through, at least: as many as it has coefficients."""
_SIGMAS: Final = 1.96
"""Of a normal posterior, on either side of 95 % of it."""


class Range(NamedTuple):
    """95 % of what fits the trainings lies between."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRow:
    """Coefficients of the grid and the trainings of their network."""

    alpha: float
    beta: float
    gamma: float
    macs: int
    shares: Shares
    """Of its network's growth, after rounding."""
    scores: tuple[float, ...]
    """Of full trainings, by seed."""
    mean: float | None
    standard_error: float | None
    """Of the mean, from the deviation that all candidates share; None where no candidate has two scores."""
    adjusted: float | None
    """The mean, corrected for the multiply-adds that the network has more or less than the target; None without a
    surface, which tells what they are worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """Coefficients and the score to expect of them, with its 95 % interval; None where noise is unknown."""

    alpha: float
    beta: float
    gamma: float
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A quadratic in the shares of depth, width and resolution (`triscale.search.coefficients.surface`)."""

    coefficients: tuple[float, ...]
    """Of d, w, r, dw, dr, wr."""
    noise: float
    """Deviation of a single training around it."""
    optimum: Optimum
    alpha: Range
    beta: Range
    gamma: Range
    """Where the optimum may lie."""
    trainings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoefficientsSummary:
    """What a search has shown so far."""

    strategy: str
    target_macs: int
    step: float
    tolerance: float
    candidates: tuple[CandidateRow, ...]
    left_out: tuple[Triple, ...]
    """Those of the grid that have no network of about the target's multiply-adds."""
    best: Optimum | None
    """By its mean; in a guided search, where most have one score, by what its neighbours say of it too."""
    indistinguishable: tuple[Triple, ...]
    """Other trained candidates that may be as good, by the 95 % intervals of all differences from the best."""
    surface: Surface | None
    """None while too few candidates are trained."""


def summary(planner: CoefficientPlanner, trials: Sequence[Trial]) -> CoefficientsSummary:
    """The findings of `trials`. Only trainings of the recipe's full epochs count."""
    known = scored(planner, trials)
    images = min((trial.result.images for trial in trials if trial.state is State.DONE and trial.result), default=None)
    pooled = pooled_deviation((each.scores for each in known), images=images)
    found = fit(known) if sum(bool(each.scores) for each in known) >= FEWEST else None
    guided = isinstance(planner, GuidedPlanner)
    choose = _by_surface(known, found) if guided and found is not None else _by_mean(known, pooled)
    best, close = choose
    kept = planner.candidates.kept
    return CoefficientsSummary(
        strategy=planner.strategy,
        target_macs=planner.candidates.target_macs,
        step=planner.step,
        tolerance=planner.tolerance,
        candidates=tuple(
            row for each, score in zip(kept, known, strict=True) for row in _rows(each, score, pooled, found)
        ),
        left_out=planner.candidates.left_out,
        best=None if best is None else _optimum(kept[best.place].triples[0], best),
        indistinguishable=tuple(triple for place in close for triple in kept[place].triples)
        + (kept[best.place].triples[1:] if best is not None else ()),
        surface=None if found is None else _surface(found, peak(found, known)),
    )


class _Best(NamedTuple):
    place: int
    mean: float
    low: float | None
    high: float | None


def _by_mean(known: Sequence[Scored], pooled: Pooled | None) -> tuple[_Best | None, list[int]]:
    trained = [place for place, each in enumerate(known) if each.scores]
    if not trained:
        return None, []
    means = {place: float(np.mean(known[place].scores)) for place in trained}
    first = max(trained, key=lambda place: means[place])
    interval = mean_interval(known[first].scores, pooled=pooled)
    others = [place for place in trained if place != first]
    gaps = {
        place: difference(known[first].scores, known[place].scores, comparisons=len(others), pooled=pooled)
        for place in others
        if pooled is not None
    }
    close = [place for place, gap in gaps.items() if gap is not None and gap.within_noise]
    return _Best(first, means[first], *((None, None) if interval is None else interval)), close


def _by_surface(known: Sequence[Scored], found: Fit) -> tuple[_Best, list[int]]:
    trained = [place for place, each in enumerate(known) if each.scores]
    first = max(trained, key=lambda place: float(found.means[place]))
    covariance = found.candidates_covariance

    def deviation(place: int) -> float:
        return math.sqrt(max(0.0, covariance[first, first] + covariance[place, place] - 2 * covariance[first, place]))

    gaps = {place: float(found.means[first] - found.means[place]) for place in trained if place != first}
    half = _SIGMAS * math.sqrt(max(0.0, covariance[first, first]))
    height = float(found.means[first])
    close = [place for place, gap in gaps.items() if gap <= _SIGMAS * deviation(place)]
    return _Best(first, height, height - half, height + half), close


def _optimum(triple: Triple, best: _Best) -> Optimum:
    return Optimum(
        alpha=triple.alpha, beta=triple.beta, gamma=triple.gamma, mean=best.mean, low=best.low, high=best.high
    )


def _rows(candidate: Candidate, score: Scored, pooled: Pooled | None, found: Fit | None) -> Iterable[CandidateRow]:
    centre = mean(score.scores)
    for triple in candidate.triples:
        yield CandidateRow(
            alpha=triple.alpha,
            beta=triple.beta,
            gamma=triple.gamma,
            macs=candidate.macs,
            shares=candidate.shares,
            scores=score.scores,
            mean=centre,
            standard_error=None
            if pooled is None or centre is None
            else pooled.deviation / math.sqrt(len(score.scores)),
            adjusted=None if centre is None or found is None else centre - found.slope * score.excess,
        )


def _surface(found: Fit, top: Peak) -> Surface:
    drawn = np.array([triple_of(shares) for shares in top.drawn])
    alpha, beta, gamma = (Range(*map(float, np.quantile(column, (0.025, 0.975)))) for column in drawn.T)
    half = _SIGMAS * top.deviation
    return Surface(
        coefficients=tuple(map(float, found.terms)),
        noise=found.scatter,
        optimum=_optimum(triple_of(top.shares), _Best(-1, top.height, top.height - half, top.height + half)),
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        trainings=found.trainings,
    )
