"""What each way of scaling is worth: networks of equal multiply-adds, side by side (Figures 3, 4 and 8, Table 3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec, Resolution
from triscale.cost import network_cost
from triscale.scaling.coefficients import EFFICIENTNET_SCALING, CompoundScaling, Dimension
from triscale.scaling.equal import Matched, common_target, equal_macs
from triscale.search.job import Job, Result
from triscale.search.planner import Choice, Params, Pause, State, Trial
from triscale.search.statistics import Difference, deviation, difference, mean, pooled_deviation

BASELINE: Final = "baseline"
"""What the unscaled network's row is called."""


class Way(StrEnum):
    """How a baseline is scaled."""

    DEPTH = "depth"
    WIDTH = "width"
    RESOLUTION = "resolution"
    COMPOUND = "compound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A network of the study, and what was done to the baseline for it."""

    way: Way | None
    """None for a network that others start from."""
    factor: float
    """About how many times the multiply-adds it has of the network that it starts from."""
    coefficients: Coefficients
    """Before rounding, of the study's baseline."""
    network: NetworkSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingStudy:
    """Plans a study: every network from every seed. `scaling_study` makes one."""

    baseline: NetworkSpec
    ways: tuple[Way, ...]
    factors: tuple[float, ...]
    """Of the baseline's multiply-adds, ascending."""
    seeds: int
    """Trainings of each network."""
    points: tuple[Point, ...]
    """The baseline, then all ways for each factor in turn."""
    width_lines: tuple[Point, ...] = ()
    """Figure 4, line after line: width scaling of baselines that were made deeper and given larger images before."""

    @property
    def networks(self) -> dict[str, NetworkSpec]:
        """The distinct ones, by name."""
        return {point.network.name: point.network for point in (*self.points, *self.width_lines)}

    @property
    def choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """The networks' names and the seeds."""
        return {"network": tuple(self.networks), "seed": tuple(range(self.seeds))}

    def propose(self, past: Sequence[Trial]) -> Params | Pause:
        """The first training that is not among `past`; every network comes once before any comes again."""
        tried = {(trial.params["network"], trial.params["seed"]) for trial in past}
        for params in self._all():
            if (params["network"], params["seed"]) not in tried:
                return params
        return Pause.END

    def job(self, params: Params) -> Job:
        """The training of a network from a seed."""
        return Job(network=self.networks[str(params["network"])], seed=int(params["seed"]))

    def value(self, params: Params, result: Result) -> float:  # noqa: ARG002
        """The score."""
        return result.score

    def expected(self) -> Sequence[Job]:
        """All trainings."""
        return [self.job(params) for params in self._all()]

    def _all(self) -> list[Params]:
        return [{"network": name, "seed": seed} for seed in range(self.seeds) for name in self.networks]


def scaling_study(
    baseline: NetworkSpec,
    *,
    ways: Sequence[Way],
    factors: Sequence[float],
    seeds: int,
    scaling: CompoundScaling = EFFICIENTNET_SCALING,
    width_lines: Sequence[tuple[float, float]] = (),
    tolerance: float = 0.03,
) -> ScalingStudy:
    """The study that scales `baseline` in `ways` to about `factors` times its multiply-adds, with `scaling` compound.

    At each factor the ways' multiply-adds differ by at most `tolerance`, a share. Each pair of `width_lines`, a depth
    and a resolution coefficient, adds a line of Figure 4: the baseline scaled by them, then widened to about `factors`
    times its own multiply-adds. Raises ValueError for factors or ways that make no study, and where rounding leaves no
    equal networks.
    """
    _check(ways, factors, seeds, width_lines)
    names: dict[NetworkSpec, str] = {}

    def point(way: Way | None, factor: float, coefficients: Coefficients, spec: NetworkSpec, name: str) -> Point:
        # The same network under two names would be two choices where there is one.
        name = names.setdefault(replace(spec, name="-"), name)
        return Point(way=way, factor=factor, coefficients=coefficients, network=replace(spec, name=name))

    ascending = tuple(sorted(factors))
    points = [point(None, 1.0, Coefficients(), baseline, baseline.name)]
    scalings = {way.value: scaling if way is Way.COMPOUND else CompoundScaling.along(Dimension(way)) for way in ways}
    equal = {factor: common_target(baseline, scalings, factor, tolerance=tolerance) for factor in ascending}
    for factor, found in equal.items():
        for way in ways:
            matched, name = found[way], f"{baseline.name}-{way}-x{factor:g}"
            points.append(point(way, factor, matched.coefficients, matched.spec, name))
    lines = []
    for depth, resolution in width_lines:
        start = Coefficients(depth=depth, resolution=resolution)
        spec = scale(baseline, start, name=f"{baseline.name}-d{depth:g}-r{resolution:g}")
        lines.append(point(None, 1.0, start, spec, spec.name))
        for factor in ascending:
            known = equal[factor].get(Way.WIDTH) if start == Coefficients() else None
            matched = known or _widened(spec, factor, tolerance)
            wide = replace(start, width=matched.coefficients.width)
            lines.append(point(Way.WIDTH, factor, wide, matched.spec, f"{spec.name}-width-x{factor:g}"))
    return ScalingStudy(
        baseline=baseline,
        ways=tuple(ways),
        factors=ascending,
        seeds=seeds,
        points=tuple(points),
        width_lines=tuple(lines),
    )


def _widened(spec: NetworkSpec, factor: float, tolerance: float) -> Matched:
    target = factor * network_cost(spec).macs
    return equal_macs(spec, CompoundScaling.along(Dimension.WIDTH), target, tolerance=tolerance)


def _check(
    ways: Sequence[Way], factors: Sequence[float], seeds: int, width_lines: Sequence[tuple[float, float]]
) -> None:
    if not ways or len(set(ways)) < len(ways):
        raise ValueError(
            f"ways must be some of {', '.join(Way)}, each once, got {', '.join(ways) if ways else 'none at all'}"
        )
    if not factors:
        raise ValueError("a study needs at least one factor of the baseline's macs, such as 4")
    for factor in factors:
        if not factor > 0 or factor == 1:
            raise ValueError(f"a factor of macs must be positive and not 1, which is the baseline itself, got {factor}")
    # Names tell factors and lines apart by six digits.
    for what, texts in (
        ("factors", [f"{factor:g}" for factor in factors]),
        ("width lines", [f"{depth:g},{resolution:g}" for depth, resolution in width_lines]),
    ):
        if len(set(texts)) < len(texts):
            raise ValueError(
                f"{what} must differ from each other, got {' '.join(texts)}; leave out what is there twice"
            )
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")


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
