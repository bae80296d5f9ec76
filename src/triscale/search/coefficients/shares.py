"""Growth divided: how much of what multiply-adds grow by goes to depth, to width and to resolution."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from triscale.arch.spec import NetworkSpec
from triscale.cost import network_cost
from triscale.search.coefficients.grid import GROWTH, Triple


class Shares(NamedTuple):
    """Parts of log2(macs / the baseline's macs), which sum to 1."""

    depth: float
    width: float
    resolution: float


def shares_of(network: NetworkSpec, baseline: NetworkSpec) -> Shares:
    """What `network` has become of `baseline`: its layers alone, its resolution alone, and the rest for its channels.

    Before rounding they are `nominal_shares`; rounding moves them, those of small networks most.
    """
    rows = zip(baseline.stages, network.stages, strict=True)
    deeper = replace(baseline, stages=tuple(replace(row, layers=scaled.layers) for row, scaled in rows))
    larger = replace(baseline, resolution=network.resolution)
    whole, depth, resolution = (_doublings(spec, baseline) for spec in (network, deeper, larger))
    assert whole > 0
    # Padding makes larger images a little more than they are worth by their area.
    parts = [max(0.0, part) for part in (depth, whole - depth - resolution, resolution)]
    return Shares(*(part / sum(parts) for part in parts))


def nominal_shares(triple: Triple) -> Shares:
    """Of coefficients before rounding: log2(alpha), 2 log2(beta) and 2 log2(gamma), divided by their sum."""
    parts = (math.log2(triple.alpha), 2 * math.log2(triple.beta), 2 * math.log2(triple.gamma))
    assert sum(parts) > 0
    return Shares(*(part / sum(parts) for part in parts))


def triple_of(shares: Sequence[float]) -> Triple:
    """The coefficients of these shares that double multiply-adds exactly, before rounding."""
    depth, width, resolution = shares
    return Triple(GROWTH**depth, GROWTH ** (width / 2), GROWTH ** (resolution / 2))


def _doublings(spec: NetworkSpec, baseline: NetworkSpec) -> float:
    return math.log2(network_cost(spec).macs / network_cost(baseline).macs)
