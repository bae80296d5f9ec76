"""Resolves a spec once: every layer's channel counts, stride and feature map size."""

from typing import NamedTuple

from triscale.arch.ops import Shape, output_resolution
from triscale.arch.spec import RESIDUAL, Activation, NetworkSpec, Operator, Padding, Resolution, Skip, Stage


class Block(NamedTuple):
    """One layer with nothing left to derive. Equal layers of a stage are equal blocks.

    A named tuple, since costing a search's candidates makes and looks up thousands of blocks a second.
    """

    operator: Operator
    kernel: int
    stride: int
    in_channels: int
    inner_channels: int
    """Channels between first and last convolution: expanded in MBConv, reduced in a bottleneck."""
    squeezed_channels: int
    """Squeeze-and-excitation width; 0 for none."""
    out_channels: int
    skip: bool
    """Whether the input is added to the output as it is; ResNet blocks may add a projection instead."""
    activation: Activation
    padding: Padding
    norm_epsilon: float
    norm_momentum: float
    resolution: Resolution
    """Of the input."""

    def at(self, resolution: Resolution) -> "Block":
        """The same layer on an input of another size."""
        return Block(*self[:-1], resolution)

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


def _block(
    stage: Stage, spec: NetworkSpec, *, in_channels: int, base: int, stride: int, resolution: Resolution
) -> Block:
    return Block(
        operator=stage.operator,
        kernel=stage.kernel,
        stride=stride,
        in_channels=in_channels,
        inner_channels=_inner_channels(stage, base),
        squeezed_channels=max(1, int(in_channels * stage.se_ratio)) if stage.se_ratio else 0,
        out_channels=stage.channels,
        skip=stride == 1 and in_channels == stage.channels and _may_skip(stage),
        activation=spec.activation,
        padding=spec.padding,
        norm_epsilon=spec.norm_epsilon,
        norm_momentum=spec.norm_momentum,
        resolution=resolution,
    )


def blocks(spec: NetworkSpec) -> tuple[tuple[Block, ...], ...]:
    """The blocks of `spec`, one inner tuple a stage, in the order images pass through them."""
    resolved: list[tuple[Block, ...]] = []
    channels, resolution = spec.input_channels, spec.resolution
    for stage in spec.stages:
        base = stage.expansion_base or channels
        first = _block(stage, spec, in_channels=channels, base=base, stride=stage.stride, resolution=resolution)
        channels, resolution = stage.channels, output_resolution(resolution, stage.stride)
        if stage.layers == 1:
            resolved.append((first,))
            continue
        later = _block(stage, spec, in_channels=channels, base=channels, stride=1, resolution=resolution)
        resolved.append((first, *[later] * (stage.layers - 1)))
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
