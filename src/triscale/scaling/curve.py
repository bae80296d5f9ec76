"""The distinct networks along a scaling curve: rounding turns real coefficients into steps, listed here exactly.

Each dimension is a row of levels, stretches of phi over which it rounds to the same whole numbers. The networks of the
curve combine the levels that share a phi; their neighbours combine levels that nearly do.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from triscale.arch.coefficients import Coefficients
from triscale.arch.rounding import round_channels, round_layers, round_resolution
from triscale.arch.scale import scale
from triscale.arch.spec import LARGEST, NetworkSpec, Operator
from triscale.scaling.coefficients import CompoundScaling, Dimension

LARGEST_GROWTH = 16384.0
"""The curve ends where, before rounding, a network has this many times the baseline's multiply-adds."""

MARGIN = 1.0
"""Levels are listed this many doublings of multiply-adds beyond the curve's ends, for the networks beside them."""

_RESOLVED = 1e-10
"""Steps are located to this many doublings; those within ten times as much are one."""


class Level(NamedTuple):
    """A stretch of phi, and a coefficient in it that stands for them all."""

    low: float
    high: float
    coefficient: float


class Position(NamedTuple):
    """A network, as the number of its level in each dimension."""

    depth: int
    width: int
    resolution: int


class Point(NamedTuple):
    """A network of the curve and the stretch of phi that rounds to it."""

    low: float
    high: float
    position: Position


@dataclass(frozen=True, slots=True)
class Curve:
    """All networks that a baseline becomes between two phi, and the levels they are made of."""

    baseline: NetworkSpec
    scaling: CompoundScaling
    depth: tuple[Level, ...]
    width: tuple[Level, ...]
    resolution: tuple[Level, ...]
    points: tuple[Point, ...]
    """By ascending phi."""

    def level(self, dimension: Dimension, position: Position) -> Level:
        """The level of one dimension at `position`."""
        levels: tuple[Level, ...] = getattr(self, dimension)
        index: int = getattr(position, dimension)
        return levels[index]

    def coefficients(self, position: Position) -> Coefficients:
        """Coefficients that scale the baseline to the network at `position`."""
        return Coefficients(**{dimension: self.level(dimension, position).coefficient for dimension in Dimension})

    def network(self, position: Position) -> NetworkSpec:
        """The network that combines the levels of `position`."""
        return scale(self.baseline, self.coefficients(position))


def phi_range(baseline: NetworkSpec, scaling: CompoundScaling) -> tuple[float, float]:
    """The two ends of the curve.

    It begins where the shorter side of the image has as many pixels as all strides multiplied (32 for every network
    of the zoo), or the baseline's side if that is shorter; where resolution does not scale, nothing is left to shrink
    there. It ends at `LARGEST_GROWTH`, or before a count passes what a spec can hold.
    """
    side = min(baseline.resolution)
    least = min(side, math.prod(stage.stride for stage in baseline.stages))
    largest = (
        (scaling.alpha, max(_layers(baseline), default=1)),
        (scaling.beta, max(_channels(baseline), default=1)),
        (scaling.gamma, max(baseline.resolution)),
    )
    growing = [(math.log(base), count) for base, count in largest if base > 1]
    # A coefficient of 1 / LARGEST leaves one layer and one divisor of channels, whatever the baseline had.
    low = max(-math.log(LARGEST) / rate for rate, _ in growing)
    if scaling.gamma > 1:
        low = max(low, math.log(least / side) / math.log(scaling.gamma))
    high = min(math.log(LARGEST / count) / rate for rate, count in growing) - 2 * MARGIN * scaling.doubling
    return low, max(0.0, min(high, math.log(LARGEST_GROWTH) / math.log(scaling.macs_factor)))


def curve(baseline: NetworkSpec, scaling: CompoundScaling, *, low: float, high: float) -> Curve:
    """The curve of `baseline` between two phi within `phi_range`."""
    margin, resolved = MARGIN * scaling.doubling, _RESOLVED * scaling.doubling
    # No margin below the curve's beginning: fewer pixels than there make no sense.
    lowest = max(phi_range(baseline, scaling)[0], low - margin)
    layers = [_rounding(round_layers, count) for count in _layers(baseline)]
    channels = [_rounding(lambda real: round_channels(real, baseline.rounding), count) for count in _channels(baseline)]
    pixels = [_rounding(round_resolution, side) for side in set(baseline.resolution)]
    depth = _levels(scaling.alpha, layers, low=low - margin, high=high + margin, resolved=resolved)
    width = _levels(scaling.beta, channels, low=low - margin, high=high + margin, resolved=resolved)
    resolution = _levels(scaling.gamma, pixels, low=lowest, high=high + margin, resolved=resolved)
    points = tuple(_points(depth, width, resolution, low=low, high=high))
    return Curve(baseline, scaling, depth, width, resolution, points)


def _layers(spec: NetworkSpec) -> set[int]:
    """The layer counts that `scale` multiplies."""
    return {stage.layers for stage in spec.stages if stage.scale_depth}


def _channels(spec: NetworkSpec) -> set[int]:
    """The channel counts that `scale` multiplies: inner ones of a bottleneck, a stage's own otherwise, and bases."""
    counts = set()
    for stage in spec.stages:
        if stage.scale_width:
            counts.add(stage.channels // (stage.expansion if stage.operator is Operator.BOTTLENECK else 1))
            if stage.expansion_base:
                counts.add(stage.expansion_base)
    return counts


def _rounding(rounded: Callable[[float], int], count: int) -> Callable[[float], int]:
    return lambda coefficient: rounded(coefficient * count)


def _levels(
    base: float, steps: Iterable[Callable[[float], int]], *, low: float, high: float, resolved: float
) -> tuple[Level, ...]:
    """The levels of a dimension that rounds by all of `steps` at the coefficient base^phi."""
    if base == 1:
        return (Level(low, high, 1.0),)
    edges, same = [low], 10 * resolved
    for jump in sorted(jump for step in steps for jump in _jumps(step, base, low, high, resolved)):
        if same < jump - edges[-1] and same < high - jump:
            edges.append(jump)
    if low < 0 < high:
        # The baseline itself: `scale` leaves channels alone at coefficient 1 even where it would round them.
        edges = sorted([edge for edge in edges if abs(edge) > same] + [0.0, 0.0])
    return tuple(Level(left, right, base ** ((left + right) / 2)) for left, right in pairwise([*edges, high]))


def _jumps(step: Callable[[float], int], base: float, low: float, high: float, resolved: float) -> Iterator[float]:
    """Every phi at which the monotone `step` changes, by halving."""
    pending = [(low, high, step(base**low), step(base**high))]
    while pending:
        left, right, before, after = pending.pop()
        if before == after:
            continue
        middle = (left + right) / 2
        if right - left <= resolved:
            yield middle
            continue
        value = step(base**middle)
        pending += [(left, middle, before, value), (middle, right, value, after)]


def _level_at(levels: tuple[Level, ...], phi: float) -> int:
    """The level that holds `phi`; at 0 the one that holds nothing else, where there is one."""
    index = bisect_left(levels, phi, key=lambda level: level.high)
    following = levels[index + 1 : index + 2]
    return index + 1 if following and following[0].low == following[0].high == phi else index


def _points(*dimensions: tuple[Level, ...], low: float, high: float) -> Iterator[Point]:
    """The stretches of phi between the steps of all dimensions, and the baseline at 0."""
    edges = sorted({edge for levels in dimensions for level in levels for edge in (level.low, level.high)})
    stretches = list(pairwise([low, *(edge for edge in edges if low < edge < high), high]))
    if low <= 0 <= high:
        stretches.append((0.0, 0.0))
    for left, right in sorted(stretches):
        middle = (left + right) / 2
        yield Point(left, right, Position(*(_level_at(levels, middle) for levels in dimensions)))
