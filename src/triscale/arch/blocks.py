"""Resolves a spec once: every layer's channel counts, stride and feature map size."""

from dataclasses import dataclass, replace

from triscale.arch.ops import Shape, output_resolution
from triscale.arch.spec import RESIDUAL, Activation, NetworkSpec, Operator, Padding, Resolution, Skip, Stage


@dataclass(frozen=True, slots=True)
class Block:
    """One layer with nothing left to derive. Equal layers of a stage are equal blocks."""

    operator: Operator
    kernel: int
    stride: int
    in_channels: int
    inner_channels: int
    """Channels between first and last convolution: expanded in MBConv, reduced in a bottleneck."""
    squeezed_channels: int
    """Squeeze-and-excitation width; 0 for none."""
    out_channels: int
    resolution: Resolution
    """Of the input."""
    skip: bool
    """Whether the input is added to the output as it is; ResNet blocks may add a projection instead."""
    activation: Activation
    padding: Padding
    norm_epsilon: float
    norm_momentum: float

    @property
    def in_shape(self) -> Shape:
        """Shape of the input of one image."""
        return Shape(self.in_channels, *self.resolution)

    @property
    def out_shape(self) -> Shape:
        """Shape of the output of one image."""
        return Shape(self.out_channels, *output_resolution(self.resolution, self.stride))


def _inner_channels(stage: Stage, base: int) -> int:
    if stage.operator is Operator.BOTTLENECK:
        return stage.channels // stage.expansion
    if stage.operator in (Operator.MBCONV, Operator.FUSED_MBCONV):
        return base * stage.expansion
    return stage.channels


def _may_skip(stage: Stage) -> bool:
    """ResNet blocks always have a shortcut; MBConv has one where its row says so."""
    return stage.operator in (Operator.BASIC, Operator.BOTTLENECK) or stage.skip is Skip.IDENTITY


def _stage_blocks(stage: Stage, spec: NetworkSpec, in_channels: int, resolution: Resolution) -> tuple[Block, ...]:
    first = Block(
        operator=stage.operator,
        kernel=stage.kernel,
        stride=stage.stride,
        in_channels=in_channels,
        inner_channels=_inner_channels(stage, stage.expansion_base or in_channels),
        squeezed_channels=max(1, int(in_channels * stage.se_ratio)) if stage.se_ratio else 0,
        out_channels=stage.channels,
        resolution=resolution,
        skip=_may_skip(stage) and stage.stride == 1 and in_channels == stage.channels,
        activation=spec.activation,
        padding=spec.padding,
        norm_epsilon=spec.norm_epsilon,
        norm_momentum=spec.norm_momentum,
    )
    if stage.layers == 1:
        return (first,)
    rest = replace(
        first,
        stride=1,
        in_channels=stage.channels,
        inner_channels=_inner_channels(stage, stage.channels),
        squeezed_channels=max(1, int(stage.channels * stage.se_ratio)) if stage.se_ratio else 0,
        resolution=output_resolution(resolution, stage.stride),
        skip=_may_skip(stage),
    )
    return (first, *[rest] * (stage.layers - 1))


def blocks(spec: NetworkSpec) -> tuple[tuple[Block, ...], ...]:
    """The blocks of `spec`, one inner tuple a stage, in the order images pass through them."""
    resolved = []
    channels, resolution = spec.input_channels, spec.resolution
    for stage in spec.stages:
        resolved.append(_stage_blocks(stage, spec, channels, resolution))
        channels, resolution = stage.channels, output_resolution(resolution, stage.stride)
    return tuple(resolved)


def stochastic_depth_rates(spec: NetworkSpec) -> tuple[tuple[float, ...], ...]:
    """Drop probability of each block: rate * index / total over the residual operators' blocks, 0 for the others.

    The EfficientNet code counts blocks from 0, so the published rate itself is never reached. The count runs over all
    MBConv blocks, and the rate applies only where a shortcut exists.
    """
    total = sum(stage.layers for stage in spec.stages if stage.operator in RESIDUAL)
    rates: list[tuple[float, ...]] = []
    index = 0
    for stage in spec.stages:
        if stage.operator not in RESIDUAL:
            rates.append((0.0,) * stage.layers)
            continue
        rates.append(tuple(spec.stochastic_depth_rate * (index + layer) / total for layer in range(stage.layers)))
        index += stage.layers
    return tuple(rates)
