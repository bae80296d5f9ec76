"""The network that keeps nearest to its coefficients, at given multiply-adds.

Scaling a small network once rounds it coarsely: any alpha above 1 doubles the stages of one layer, and what that costs
is missing elsewhere. So a candidate is not the network of the formula: some of its stages keep a layer less, some have
the other multiple of channels, so that depth, width and resolution each have about the share of the growth that the
coefficients give them.
"""

from collections.abc import Iterator
from itertools import product
from typing import Final

from triscale.arch.coefficients import Coefficients
from triscale.arch.spec import NetworkSpec, Resolution
from triscale.cost import network_cost
from triscale.scaling.coefficients import CompoundScaling, Dimension
from triscale.scaling.other_rounding import Other, others, rounded_otherwise
from triscale.search.coefficients.grid import Triple
from triscale.search.coefficients.shares import Shares, nominal_shares, shares_of

_STRETCHES: Final = (1.0, 0.9, 1.1, 0.8, 1.2)
"""Of phi: where rounding leaves nothing near the target, the formula's growth is taken a little lower or higher."""
_PIXELS: Final = (-1, 0, 1, 2)
"""Added to the whole pixels that the formula gives."""


def nearest_network(baseline: NetworkSpec, triple: Triple, target: float, *, tolerance: float) -> NetworkSpec | None:
    """Of the networks within `tolerance`, a share, of `target` multiply-adds the one whose shares are `triple`'s best.

    `target` is twice the multiply-adds of `baseline`. A dimension whose coefficient is 1 is not changed. The counts
    that usual rounding misses most are rounded the other way first. None where no network is near enough.
    """
    scaling, wanted = CompoundScaling(*triple), nominal_shares(triple)
    for stretch in _STRETCHES:
        # phi = 1 for coefficients that double multiply-adds exactly.
        coefficients = scaling.at(stretch * scaling.doubling)
        near = [
            (_distance(shares_of(spec, baseline), wanted) + miss, number, spec)
            for number, spec in enumerate(_variants(baseline, coefficients))
            if (miss := abs(network_cost(spec).macs / target - 1)) <= tolerance
        ]
        if near:
            return min(near)[2]
    return None


def _variants(baseline: NetworkSpec, coefficients: Coefficients) -> Iterator[NetworkSpec]:
    """Networks that round more and more layers, and more and more channels, the other way."""
    found = sorted(others(baseline, coefficients), key=lambda other: -other.error)
    depths, widths = (_growing(found, dimension) for dimension in (Dimension.DEPTH, Dimension.WIDTH))
    for deep, wide, resolution in product(depths, widths, _resolutions(baseline.resolution, coefficients.resolution)):
        yield rounded_otherwise(baseline, coefficients, (*deep, *wide), resolution)


def _growing(found: list[Other], dimension: Dimension) -> list[list[Other]]:
    """The first none, one, two ... of a dimension."""
    own = [other for other in found if other.dimension is dimension]
    return [own[:count] for count in range(len(own) + 1)]


def _resolutions(resolution: Resolution, coefficient: float) -> list[Resolution]:
    if coefficient == 1:
        return [resolution]
    height, width = resolution
    heights = (max(height, int(coefficient * height) + pixels) for pixels in _PIXELS)
    return list(dict.fromkeys(Resolution(each, round(each * width / height)) for each in heights))


def _distance(shares: Shares, wanted: Shares) -> float:
    return sum(abs(one - other) for one, other in zip(shares, wanted, strict=True)) / 2
