"""What each way of scaling is worth: networks of equal multiply-adds, side by side (Figures 3, 4 and 8, Table 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec
from triscale.cost import network_cost
from triscale.scaling.coefficients import EFFICIENTNET_SCALING, CompoundScaling, Dimension
from triscale.scaling.equal import Matched, common_target, equal_macs
from triscale.search.job import Job, Result
from triscale.search.planner import Choice, Params, Pause, Trial


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
            raise ValueError(
                f"a factor of macs must be positive and not 1, which is the baseline itself, got {factor:g}"
            )
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
