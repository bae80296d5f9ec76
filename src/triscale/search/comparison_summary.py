"""What a scaling study has shown: mean and spread of every network, and verdicts that know noise (Table 3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from triscale.arch.spec import Resolution
from triscale.cost import network_cost
from triscale.search.comparison import Point, ScalingStudy, Way
from triscale.search.planner import State, Trial
from triscale.search.statistics import Difference, deviation, difference, mean, pooled_deviation

BASELINE: Final = "baseline"
"""What the unscaled network's row is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A network's scores."""

    way: str
    """A way of scaling, or `BASELINE`."""
    factor: float
    """As it was asked for; `macs` says what became of it."""
    depth: float
    width: float
    resolution: float
    """Coefficients before rounding."""
    pixels: Resolution
    macs: int
    params: int
    scores: tuple[float, ...]
    """Of the trainings that are finished, by seed."""
    mean: float | None
    deviation: float | None
    """Sample standard deviation over seeds; None below two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRow:
    """A network's scores in Figure 4."""

    depth: float
    resolution: float
    width: float
    macs: int
    scores: tuple[float, ...]
    mean: float | None
    deviation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Two ways of scaling at the same multiply-adds, and whether their scores differ by more than noise."""

    factor: float
    better: Way
    """By its mean."""
    worse: Way
    difference: float
    """Of the means, 0 or more."""
    low: float | None
    high: float | None
    """The 95 % interval of the difference, for all comparisons of the study at once; None where noise is unknown."""
    within_noise: bool
    """Whether more seeds might turn it round; also where noise is unknown."""
    text: str
    """All of it in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """What a study has shown so far."""

    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    width_lines: tuple[LineRow, ...]


def summary(study: ScalingStudy, trials: Sequence[Trial]) -> StudySummary:
    """Tables and verdicts from the trials that are done; networks without any keep their rows.

    Compound scaling, where it is among the ways, is compared with each of the others, otherwise the best by its mean.
    Noise is taken to be the same for all ways at one factor, since two or three seeds tell little about one network's.
    Intervals are those of `triscale.search.statistics`: they cover seeds, not the choice of the judged images.
    """
    results = {
        (trial.params["network"], trial.params["seed"]): trial.result
        for trial in trials
        if trial.state is State.DONE and trial.result is not None
    }

    def scores(point: Point) -> tuple[float, ...]:
        found = (results.get((point.network.name, seed)) for seed in range(study.seeds))
        return tuple(result.score for result in found if result is not None)

    images = min((result.images for result in results.values()), default=None)
    verdicts = []
    for factor in study.factors:
        points = {point.way: point for point in study.points if point.way and point.factor == factor}
        growth = mean([network_cost(point.network).macs for point in points.values()])
        assert growth is not None
        verdicts += _verdicts(
            factor,
            {way: scores(point) for way, point in points.items()},
            times=growth / network_cost(study.baseline).macs,
            comparisons=len(study.factors) * _comparisons(study.ways),
            images=images,
        )
    return StudySummary(
        rows=tuple(_row(point, scores(point)) for point in study.points),
        verdicts=tuple(verdicts),
        width_lines=tuple(_line_row(point, scores(point)) for point in study.width_lines),
    )


def _row(point: Point, scores: tuple[float, ...]) -> Row:
    cost = network_cost(point.network)
    return Row(
        way=point.way.value if point.way else BASELINE,
        factor=point.factor,
        depth=point.coefficients.depth,
        width=point.coefficients.width,
        resolution=point.coefficients.resolution,
        pixels=point.network.resolution,
        macs=cost.macs,
        params=cost.params,
        scores=scores,
        mean=mean(scores),
        deviation=deviation(scores),
    )


def _line_row(point: Point, scores: tuple[float, ...]) -> LineRow:
    return LineRow(
        depth=point.coefficients.depth,
        resolution=point.coefficients.resolution,
        width=point.coefficients.width,
        macs=network_cost(point.network).macs,
        scores=scores,
        mean=mean(scores),
        deviation=deviation(scores),
    )


def _comparisons(ways: Sequence[Way]) -> int:
    """How many there are at one factor, or might have been: without compound the best is known only afterwards."""
    return len(ways) - 1 if Way.COMPOUND in ways else math.comb(len(ways), 2)


def _verdicts(
    factor: float, group: Mapping[Way, tuple[float, ...]], *, times: float, comparisons: int, images: int | None
) -> list[Verdict]:
    """Those at one factor, really `times` the baseline's multiply-adds, among ways that have scores."""
    means = {way: value for way, scores in group.items() if (value := mean(scores)) is not None}
    first = Way.COMPOUND if Way.COMPOUND in group else max(group, key=lambda way: means.get(way, -math.inf))
    others = [way for way in means if way is not first] if first in means else []
    pooled = pooled_deviation(group.values(), images=images)

    def verdict(better: Way, worse: Way) -> Verdict:
        gap = means[better] - means[worse]
        found = None
        if pooled is not None:
            found = difference(group[better], group[worse], comparisons=comparisons, pooled=pooled)
        return Verdict(
            factor=factor,
            better=better,
            worse=worse,
            difference=gap,
            low=None if found is None else found.low,
            high=None if found is None else found.high,
            within_noise=found is None or found.within_noise,
            text=_text(times, better, worse, gap, found),
        )

    return [verdict(first, way) if means[first] >= means[way] else verdict(way, first) for way in others]


def _text(times: float, better: Way, worse: Way, gap: float, found: Difference | None) -> str:
    points = f"{100 * gap:.1f} points"
    where = f"At {float(f'{times:.2g}'):g}x the macs"
    if found is None:
        return (
            f"{where} {better} scaling scores {points} more than {worse}, but one seed tells nothing about noise: "
            "train from more seeds."
        )
    interval = f"{100 * found.low:z.1f} to {100 * found.high:z.1f}"
    if found.within_noise:
        return (
            f"{where} {better} and {worse} scaling differ by {points}, which is within noise (95 % interval "
            f"{interval}): more seeds are needed to tell."
        )
    return f"{where} {better} scaling is {points} better than {worse} (95 % interval {interval})."
