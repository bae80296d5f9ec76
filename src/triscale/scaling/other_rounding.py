"""The other way to round: counts of layers and channels that a scaled stage might have had as well."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from triscale.arch.coefficients import Coefficients
from triscale.arch.rounding import ChannelRounding, round_channels, round_layers
from triscale.arch.scale import scale_stages
from triscale.arch.spec import NetworkSpec, Operator, Resolution
from triscale.scaling.coefficients import Dimension


class Other(NamedTuple):
    """A stage's count, rounded the other way."""

    stage: int
    dimension: Dimension
    coefficient: float
    """What rounds to it."""
    error: float
    """By what share of itself the usual count misses the unrounded one."""


def others(baseline: NetworkSpec, coefficients: Coefficients) -> Iterator[Other]:
    """Of every count of `baseline` that `coefficients` scale and that can be rounded the other way.

    Layers are usually rounded up, so the other count is a layer less; of channels it is the next multiple on the other
    side.
    """
    for number, stage in enumerate(baseline.stages):
        if stage.scale_depth and coefficients.depth != 1:
            layers = round_layers(coefficients.depth * stage.layers)
            if layers > 1:
                error = layers / (coefficients.depth * stage.layers) - 1
                # Half a layer below, so that rounding up meets the count whatever the last digit of the product.
                yield Other(number, Dimension.DEPTH, (layers - 1.5) / stage.layers, error)
        if stage.scale_width and coefficients.width != 1 and stage.operator is not Operator.MAX_POOL:
            count = stage.channels // (stage.expansion if stage.operator is Operator.BOTTLENECK else 1)
            wanted = coefficients.width * count
            other = _other_channels(wanted, baseline.rounding)
            error = abs(round_channels(wanted, baseline.rounding) / wanted - 1)
            yield Other(number, Dimension.WIDTH, other / count, error)


def rounded_otherwise(
    baseline: NetworkSpec, coefficients: Coefficients, changes: Iterable[Other], resolution: Resolution
) -> NetworkSpec:
    """`baseline` scaled by `coefficients` but for the counts of `changes`, at `resolution`."""
    each = [coefficients] * len(baseline.stages)
    for other in changes:
        each[other.stage] = replace(each[other.stage], **{other.dimension.value: other.coefficient})
    return scale_stages(baseline, each, resolution=resolution)


def _other_channels(channels: float, rounding: ChannelRounding) -> int:
    """The multiple of the divisor on the other side of `channels`, at least one."""
    below = max(1, math.floor(channels / rounding.divisor)) * rounding.divisor
    above = max(1, math.ceil(channels / rounding.divisor)) * rounding.divisor
    return above if round_channels(channels, rounding) == below else below
