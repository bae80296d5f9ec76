"""Released networks at the resolutions where they fit a budget, the most promising first."""

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from triscale.arch import get_network
from triscale.arch.spec import NetworkSpec, Resolution, square
from triscale.cost import network_cost
from triscale.models.weights.releases import Release, releases as all_releases
from triscale.scaling.budget import UNITS, Budget, CostFunction, Figures, Limit, format_amount
from triscale.scaling.quantities import format_quantity
from triscale.scaling.solve import inference_bytes

SMALLEST: Final = 128
"""Pixels; below, these networks see too little of what they were trained to see."""
STEP: Final = 32
"""Pixels; the networks halve the resolution five times."""
LOST_AN_OCTAVE: Final = 12.0
"""Per cent of ImageNet's images that half the resolution loses, by rule of thumb: it orders what is tried, no more."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A released network at a resolution, and what it uses there."""

    release: Release
    resolution: Resolution
    figures: Figures

    @property
    def expected_top1(self) -> float:
        """The published accuracy, less `LOST_AN_OCTAVE` for each halving of the resolution; per cent."""
        return _expected_top1(self.release, self.resolution)


def native_resolution(release: Release) -> Resolution:
    """What the release was trained for."""
    return release.preprocessing.resolution if release.preprocessing else get_network(release.network).resolution


def _expected_top1(release: Release, resolution: Resolution) -> float:
    return release.top1 - LOST_AN_OCTAVE * math.log2(native_resolution(release).height / resolution.height)


def resolutions(release: Release) -> tuple[Resolution, ...]:
    """The release's own resolution and lower ones, the largest first."""
    own = native_resolution(release)
    below = range((own.height - 1) // STEP * STEP, SMALLEST - 1, -STEP)
    return (own, *(square(pixels) for pixels in below))


def candidates(
    budget: Budget,
    *,
    classes: int,
    releases: Sequence[Release] | None = None,
    latency_ms: CostFunction | None = None,
    passed_over: Callable[[str, str], None] | None = None,
) -> Iterator[Candidate]:
    """Each release at its largest resolution inside `budget`, the highest expected accuracy first.

    Networks count with a classifier for `classes`. Latency is what `latency_ms` measures, at three or so resolutions of
    a release, and only when its turn may have come: with the first candidates one gets the first measurements alone.
    `passed_over` is told of each release that does not fit. Raises ValueError where a latency is limited and cannot be
    measured.
    """
    if budget.latency_ms is not None and latency_ms is None:
        raise ValueError("a latency limit needs latency_ms to measure networks with")
    tell = passed_over or (lambda *_: None)
    queue: list[tuple[float, int, list[Resolution], Candidate | None]] = []
    rows = all_releases() if releases is None else releases
    for number, release in enumerate(rows):
        fitting = [size for size in resolutions(release) if _misfit(network_of(release, size, classes), budget) is None]
        if fitting:
            heapq.heappush(queue, (-_expected_top1(release, fitting[0]), number, fitting, None))
        else:
            tell(release.name, _misfit(network_of(release, resolutions(release)[-1], classes), budget) or "")
    while queue:
        _, number, fitting, candidate = heapq.heappop(queue)
        release = rows[number]
        if candidate is not None:
            yield candidate
        elif (candidate := _largest(release, fitting, budget, classes, latency_ms, tell)) is not None:
            heapq.heappush(queue, (-candidate.expected_top1, number, fitting, candidate))


def network_of(release: Release, resolution: Resolution, classes: int) -> NetworkSpec:
    """What the release computes at a resolution, with a classifier for `classes`."""
    return replace(get_network(release.network), resolution=resolution, classes=classes)


def _figures(spec: NetworkSpec) -> Figures:
    cost = network_cost(spec)
    return Figures(macs=cost.macs, params=cost.params, memory_bytes=inference_bytes(spec))


def _misfit(spec: NetworkSpec, budget: Budget) -> str | None:
    """Which limit `spec` exceeds, latency aside, and what it needs; None where it fits."""
    figures = _figures(spec)
    for limit, most in budget.limits.items():
        amount = figures.of(limit)
        if amount is not None and amount > most:
            return f"needs {format_amount(limit, amount)} at {spec.resolution.height} pixels"
    return None


def _largest(
    release: Release,
    fitting: Sequence[Resolution],
    budget: Budget,
    classes: int,
    latency_ms: CostFunction | None,
    tell: Callable[[str, str], None],
) -> Candidate | None:
    """The first of `fitting` that is quick enough, by bisection: a smaller one is taken to be quicker."""
    if budget.latency_ms is None or latency_ms is None:
        return Candidate(release, fitting[0], _figures(network_of(release, fitting[0], classes)))
    found: Candidate | None = None
    first, middle, last = 0, 0, len(fitting) - 1  # the largest comes first: it fits most often
    fastest_ms = math.inf
    while first <= last:
        spec = network_of(release, fitting[middle], classes)
        measured_ms = latency_ms(spec)
        fastest_ms = min(fastest_ms, measured_ms)
        if measured_ms <= budget.latency_ms:
            found = Candidate(release, fitting[middle], replace(_figures(spec), latency_ms=measured_ms))
            last = middle - 1
        else:
            first = middle + 1
        middle = (first + last) // 2
    if found is None:
        needs = format_quantity(fastest_ms, UNITS[Limit.LATENCY])
        tell(release.name, f"needs {needs} at {fitting[-1].height} pixels")
    return found
