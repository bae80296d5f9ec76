"""Scaling a spec: depth, width and resolution coefficients in, a spec with whole numbers out (Equation 1)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from triscale.arch.coefficients import Coefficients
from triscale.arch.rounding import ChannelRounding, round_channels, round_layers, round_resolution
from triscale.arch.spec import NetworkSpec, Operator, Resolution, Stage


def _scale_channels(channels: int, width: float, rounding: ChannelRounding) -> int:
    """A coefficient of exactly 1 changes nothing, also where `channels` is no multiple of the divisor."""
    return channels if width == 1 else round_channels(channels * width, rounding)


@lru_cache(maxsize=4096)
def _scale_stage(stage: Stage, coefficients: Coefficients, rounding: ChannelRounding) -> Stage:
    layers, channels, base = stage.layers, stage.channels, stage.expansion_base
    if stage.scale_depth:
        layers = round_layers(coefficients.depth * layers)
    if stage.scale_width:
        # A bottleneck's inner channels are rounded, so that its output stays a whole multiple of them.
        unit = stage.expansion if stage.operator is Operator.BOTTLENECK else 1
        channels = _scale_channels(channels // unit, coefficients.width, rounding) * unit
        channels = max(stage.minimum_channels, channels)
        base = base and _scale_channels(base, coefficients.width, rounding)
    return replace(stage, layers=layers, channels=channels, expansion_base=base)


def scale(spec: NetworkSpec, coefficients: Coefficients, *, name: str | None = None) -> NetworkSpec:
    """`spec` with layers, channels and resolution multiplied by `coefficients`, then rounded.

    Compound scaling and scaling of one dimension are the same call: leave the other coefficients at 1. Stages whose
    rows say so keep their layers or channels. Operators, strides, expansions and classes never change.
    """
    height, width = spec.resolution
    resolution = Resolution(
        round_resolution(coefficients.resolution * height),
        round_resolution(coefficients.resolution * width),
    )
    return scale_stages(spec, [coefficients] * len(spec.stages), resolution=resolution, name=name)


def scale_stages(
    spec: NetworkSpec, coefficients: Sequence[Coefficients], *, resolution: Resolution, name: str | None = None
) -> NetworkSpec:
    """`spec` at `resolution`, each stage scaled by coefficients of its own: one for every stage, in order."""
    stages: list[Stage] = []
    for stage, own in zip(spec.stages, coefficients, strict=True):
        scaled = _scale_stage(stage, own, spec.rounding)
        if stage.operator is Operator.MAX_POOL:
            # A pool has the channels of what it pools, however those were rounded.
            scaled = replace(scaled, channels=stages[-1].channels if stages else spec.input_channels)
        stages.append(scaled)
    return replace(spec, name=name or spec.name, resolution=resolution, stages=tuple(stages))
