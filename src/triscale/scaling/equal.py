"""Networks of equal multiply-adds, whichever way they were scaled: what a fair comparison trains (Figure 8, Table 3).

Rounding leaves gaps between the networks of a scaling curve: a whole pixel of a small image is worth a tenth of its
multiply-adds, and depth adds a layer to several stages at once. Where no network of the curve comes near enough, a few
counts are rounded the other way: a layer less, or the next multiple of channels.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final, NamedTuple

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec, Resolution
from triscale.cost import network_cost
from triscale.scaling.coefficients import CompoundScaling
from triscale.scaling.curve import curve, phi_range
from triscale.scaling.other_rounding import Other, others, rounded_otherwise
from triscale.scaling.quantities import format_quantity
from triscale.scaling.shortest import shortest

ENOUGH: Final = 0.005
"""Multiply-adds within this share of the target are as good as equal: what is nearer is not looked for."""

DRIFT: Final = 0.2
"""How far, as a share, a common target may lie from the factor that was asked for."""

_COST_OF_DRIFT: Final = 0.1
"""What a share away from the factor counts against a share by which the ways differ."""

_WINDOW: Final = 8
"""Networks of the curve on either side of the target whose counts are tried the other way."""

_MOST: Final = 2500
"""Networks costed for one target; about half a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """A scaled network and how near its multiply-adds come to what was asked for."""

    spec: NetworkSpec
    """Called as its baseline is."""
    coefficients: Coefficients
    """Before rounding; `scale` makes `spec` of them where nothing was rounded the other way."""
    phi: float
    macs: int
    """Of `spec`, exactly."""
    deviation: float
    """macs / target - 1."""
    changes: int
    """Counts of layers, channels or pixels that were rounded the other way."""


class _Place(NamedTuple):
    """A place on the curve, and the counts there that may be rounded the other way."""

    phi: float
    spec: NetworkSpec
    others: tuple[Other, ...]
    low: float
    high: float
    """The stretch of phi that rounds to `spec`."""


class _Variant(NamedTuple):
    """A network of the curve, or one that differs from it in `changes` counts."""

    place: _Place
    spec: NetworkSpec
    changes: int


def equal_macs(baseline: NetworkSpec, scaling: CompoundScaling, target: float, *, tolerance: float = 0.03) -> Matched:
    """The network nearest to `target` multiply-adds that scaling `baseline` along `scaling` gives.

    The network of the curve is taken where it lies within `ENOUGH` of the target. Otherwise single counts are rounded
    the other way, as few as it takes; and an image may be a pixel higher than wide where nothing else is within
    `tolerance`, a share of the target. Raises ValueError, stating the nearest, where that is not either.
    """
    _check(target, "target", tolerance)
    found = _nearest(baseline, scaling, target)
    if _distance(found) > tolerance and scaling.gamma > 1:
        found = min(found, _nearest(baseline, scaling, target, oblong=True), key=_distance)
    if _distance(found) > tolerance:
        raise ValueError(
            f"scaling {baseline.name} by {scaling} comes no nearer to {format_quantity(target)} macs than "
            f"{format_quantity(found.macs)} ({found.deviation:+.1%}, more than {tolerance:.1%}); ask for those, or "
            "allow a larger tolerance"
        )
    return found


def common_target(
    baseline: NetworkSpec, scalings: Mapping[str, CompoundScaling], factor: float, *, tolerance: float = 0.03
) -> dict[str, Matched]:
    """For each way of scaling a network of about `factor` times the multiply-adds of `baseline`, all nearly equal.

    The largest exceeds the smallest by at most `tolerance`, a share. Where a way has no network at the very factor,
    as resolution with its whole pixels, a target is looked for among those it has, at most `DRIFT` away, the nearest
    first. Raises ValueError, naming the way and the gap, where no target suits all.
    """
    _check(factor, "factor", tolerance)
    if not scalings:
        raise ValueError("no way of scaling to compare; name at least one")
    goal = factor * network_cost(baseline).macs

    def drift(macs: float) -> float:
        return abs(macs / goal - 1)

    def penalty(found: Mapping[str, Matched]) -> float:
        mean = sum(each.macs for each in found.values()) / len(found)
        return _spread(found) + _COST_OF_DRIFT * drift(mean) + (_spread(found) > tolerance)

    best = {way: _nearest(baseline, scaling, goal) for way, scaling in scalings.items()}
    coarse = [scalings[way] for way, found in best.items() if _distance(found) > ENOUGH]
    targets = {network_cost(place.spec).macs for scaling in coarse for place in _around(baseline, scaling, goal)}
    for target in sorted(targets, key=drift):
        if drift(target) > DRIFT or _COST_OF_DRIFT * drift(target) >= penalty(best) or penalty(best) <= 2 * ENOUGH:
            break
        found = {way: _nearest(baseline, scaling, target) for way, scaling in scalings.items()}
        best = min(best, found, key=penalty)
    way, worst = max(best.items(), key=lambda item: _distance(item[1]))
    if _spread(best) > tolerance or _distance(worst) > DRIFT:
        raise ValueError(
            f"scaling {baseline.name} by {way} to {factor:g} times its macs comes no nearer to "
            f"{format_quantity(worst.macs / (1 + worst.deviation))} than {format_quantity(worst.macs)} "
            f"({worst.deviation:+.1%}), while the ways may differ by {tolerance:.1%}; choose another factor, a larger "
            "baseline, or a larger tolerance"
        )
    return best


def _check(value: float, name: str, tolerance: float) -> None:
    for number, what in ((value, name), (tolerance, "tolerance")):
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{what} must be positive and finite, got {number}")


def _distance(found: Matched) -> float:
    return abs(found.deviation)


def _spread(ways: Mapping[str, Matched]) -> float:
    """By what share the largest exceeds the smallest."""
    macs = [found.macs for found in ways.values()]
    return max(macs) / min(macs) - 1


def _nearest(baseline: NetworkSpec, scaling: CompoundScaling, target: float, *, oblong: bool = False) -> Matched:
    """The nearest to `target`: of those within `ENOUGH` one with the fewest counts rounded the other way."""
    best: Matched | None = None
    places = _around(baseline, scaling, target)
    for variant in islice(_variants(baseline, scaling, places, oblong=oblong), _MOST):
        if best is not None and _distance(best) <= ENOUGH and variant.changes > best.changes:
            break
        macs = network_cost(variant.spec).macs
        if best is None or abs(macs / target - 1) < _distance(best):
            best = _matched(baseline, scaling, variant, macs=macs, deviation=macs / target - 1)
    assert best is not None
    return best


def _matched(
    baseline: NetworkSpec, scaling: CompoundScaling, variant: _Variant, *, macs: int, deviation: float
) -> Matched:
    place, phi = variant.place, variant.place.phi
    if not variant.changes:
        phi = shortest(place.low, place.high, lambda phi: scale(baseline, scaling.at(phi)) == place.spec)
    return Matched(
        spec=variant.spec,
        coefficients=scaling.at(phi),
        phi=phi,
        macs=macs,
        deviation=deviation,
        changes=variant.changes,
    )


def _around(baseline: NetworkSpec, scaling: CompoundScaling, target: float) -> list[_Place]:
    """The networks of the curve about `target` multiply-adds, the nearest by phi first, each in two places.

    Near the beginning of its stretch the next multiple below a count may be another one than near the end. The place
    nearer to the phi that would do without rounding comes first.
    """
    unrounded = math.log(target / network_cost(baseline).macs) / math.log(scaling.macs_factor)
    low, high = phi_range(baseline, scaling)
    middle = _crossing(baseline, scaling, target, low=low, high=high)
    networks = curve(
        baseline, scaling, low=max(low, middle - scaling.doubling), high=min(high, middle + scaling.doubling)
    )
    nearest = bisect_left(networks.points, middle, key=lambda point: point.high)
    indices = range(max(0, nearest - _WINDOW), min(len(networks.points), nearest + _WINDOW + 1))
    return [
        place
        for index in sorted(indices, key=lambda index: abs(index - nearest))
        for place in sorted(
            _places(baseline, scaling, *networks.points[index][:2]), key=lambda place: abs(place.phi - unrounded)
        )
    ]


def _places(baseline: NetworkSpec, scaling: CompoundScaling, low: float, high: float) -> Iterator[_Place]:
    spec = scale(baseline, scaling.at((low + high) / 2))
    for share in (0.02, 0.98):
        phi = low + share * (high - low)
        yield _Place(phi, spec, tuple(others(baseline, scaling.at(phi))), low, high)


def _crossing(baseline: NetworkSpec, scaling: CompoundScaling, target: float, *, low: float, high: float) -> float:
    """The phi from which on networks have `target` multiply-adds, by halving."""
    while high - low > 1e-6 * scaling.doubling:
        middle = (low + high) / 2
        if network_cost(scale(baseline, scaling.at(middle))).macs < target:
            low = middle
        else:
            high = middle
    return high


def _variants(
    baseline: NetworkSpec, scaling: CompoundScaling, places: Sequence[_Place], *, oblong: bool
) -> Iterator[_Variant]:
    """Every distinct network of the places with counts rounded the other way, those with the fewest first.

    `oblong` makes images a pixel lower or higher than they are wide, which counts as a change.
    """
    seen: set[NetworkSpec] = set()
    for count in range(max(len(place.others) for place in places) + 1):
        for place in places:
            # In the middle of the stretch nothing is about to round differently.
            coefficients = scaling.at((place.low + place.high) / 2)
            for chosen in combinations(place.others, count):
                for resolution in _resolutions(place.spec, oblong=oblong):
                    spec = rounded_otherwise(baseline, coefficients, chosen, resolution)
                    if spec not in seen:
                        seen.add(spec)
                        yield _Variant(place, spec, count + oblong)


def _resolutions(spec: NetworkSpec, *, oblong: bool) -> Iterator[Resolution]:
    height, width = spec.resolution
    if not oblong:
        yield spec.resolution
        return
    if height > 1:
        yield Resolution(height - 1, width)
    yield Resolution(height + 1, width)
