"""What a network is: frozen rows that read like Table 1 of the EfficientNet paper.

A `NetworkSpec` says nothing twice. Channel counts between layers, strides of later layers and feature map sizes
follow from the rows, and `triscale.arch.blocks` derives them once for every reader.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from triscale.arch.rounding import ChannelRounding

LARGEST = 1 << 20
"""Bound on every count in a spec, so that a hostile file cannot ask for endless work."""


class Operator(StrEnum):
    """What one layer of a stage computes; `triscale.arch.lowering` spells out each sequence."""

    CONV = "conv"
    MBCONV = "mbconv"
    FUSED_MBCONV = "fused_mbconv"
    DEPTHWISE_SEPARABLE = "depthwise_separable"
    BASIC = "basic"
    BOTTLENECK = "bottleneck"
    MAX_POOL = "max_pool"


RESIDUAL = frozenset({Operator.MBCONV, Operator.FUSED_MBCONV, Operator.BASIC, Operator.BOTTLENECK})
"""Operators with a residual connection: those that stochastic depth counts and may drop."""

EXPANDING = frozenset({Operator.MBCONV, Operator.FUSED_MBCONV, Operator.BOTTLENECK})
"""Operators that read `Stage.expansion`."""

SQUEEZING = frozenset({Operator.MBCONV, Operator.FUSED_MBCONV})
"""Operators that read `Stage.se_ratio`, `Stage.skip` and `Stage.expansion_base`."""


class Skip(StrEnum):
    """What is added to an MBConv's output where stride and channel count allow it."""

    IDENTITY = "identity"
    NONE = "none"


class Activation(StrEnum):
    """Nonlinearity after normalisation; the paper's SiLU is also called Swish-1."""

    SILU = "silu"
    RELU = "relu"
    RELU6 = "relu6"


class Padding(StrEnum):
    """Where zeros go around a feature map. Both give ceil(size / stride) outputs."""

    SAME = "same"
    """TensorFlow's: as few zeros as needed, the odd one at the bottom and right."""
    SYMMETRIC = "symmetric"
    """PyTorch's: kernel // 2 on every side."""


class Resolution(NamedTuple):
    """Height and width of an image or feature map, in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def square(pixels: int) -> Resolution:
    """A resolution of `pixels` by `pixels`."""
    return Resolution(pixels, pixels)


def _check_count(name: str, value: int, minimum: int = 1) -> None:
    if not minimum <= value <= LARGEST:
        raise ValueError(f"{name} must lie in {minimum}..{LARGEST}, got {value}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the table: `layers` layers of the same operator, the first with `stride`, the others with 1."""

    operator: Operator
    kernel: int
    """Side of the square kernel, odd."""
    stride: int
    """Step of the first layer."""
    channels: int
    """Output channels of every layer."""
    layers: int = 1
    expansion: int = 1
    """MBConv: inner channels over input channels. Bottleneck: output channels over inner channels."""
    se_ratio: float = 0.0
    """Squeeze-and-excitation width over the block's input channels; 0 for none."""
    skip: Skip = Skip.NONE
    expansion_base: int | None = None
    """Channels that the first layer's expansion multiplies where they are not its input's (EdgeTPU's first stage)."""
    scale_depth: bool = True
    """Whether the depth coefficient applies to `layers`."""
    scale_width: bool = True
    """Whether the width coefficient applies to `channels`."""
    minimum_channels: int = 1
    """Scaling never goes below this (MobileNetV2's last convolution keeps 1280 in narrow networks)."""

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "channels", "layers", "expansion", "minimum_channels"):
            _check_count(name, getattr(self, name))
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        if self.stride > self.kernel and self.kernel != 1:
            raise ValueError(f"stride {self.stride} would skip pixels of a {self.kernel}x{self.kernel} kernel")
        if not 0 <= self.se_ratio <= 1:
            raise ValueError(f"se_ratio must lie in 0..1, got {self.se_ratio}")
        if self.minimum_channels > self.channels:
            raise ValueError(f"minimum_channels {self.minimum_channels} exceeds the row's {self.channels} channels")
        if self.expansion_base is not None:
            _check_count("expansion_base", self.expansion_base)
        self._check_operator()

    def _check_operator(self) -> None:
        operator = self.operator
        if self.expansion != 1 and operator not in EXPANDING:
            raise ValueError(f"{operator} has no expansion, got {self.expansion}; leave it at 1")
        if operator is Operator.BOTTLENECK and self.channels % self.expansion:
            raise ValueError(f"bottleneck channels {self.channels} must be a multiple of expansion {self.expansion}")
        if operator in (Operator.BOTTLENECK, Operator.MAX_POOL) and self.minimum_channels != 1:
            raise ValueError(f"{operator} takes no minimum_channels; leave it at 1")
        if operator not in SQUEEZING and (self.se_ratio, self.skip, self.expansion_base) != (
            0,
            Skip.NONE,
            None,
        ):
            raise ValueError(f"{operator} takes no se_ratio, skip or expansion_base; leave them out")
        if operator is Operator.FUSED_MBCONV and self.expansion == 1 and self.se_ratio:
            raise ValueError("fused_mbconv with expansion 1 is one convolution and takes no se_ratio; set it to 0")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A whole network: its rows, then pooling, dropout and a linear classifier."""

    name: str
    resolution: Resolution
    """Input height and width, in pixels."""
    stages: tuple[Stage, ...]
    classes: int = 1000
    """Outputs of the classifier; 0 builds the network without one, so that it returns pooled features."""
    input_channels: int = 3
    activation: Activation = Activation.SILU
    padding: Padding = Padding.SAME
    norm_epsilon: float = 1e-3
    norm_momentum: float = 0.01
    """Weight of the newest batch in the running statistics (TensorFlow prints 1 minus this)."""
    dropout: float = 0.0
    """Drop probability between pooling and classifier, in training."""
    stochastic_depth_rate: float = 0.0
    """Drop probability that the last block approaches, growing linearly from 0 at the first, in training."""
    rounding: ChannelRounding = ChannelRounding()
    """How width scaling rounds this family's channel counts."""

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable():
            raise ValueError(f"name must be printable and not empty, got {self.name!r}")
        _check_count("height", self.resolution.height)
        _check_count("width", self.resolution.width)
        if not self.stages:
            raise ValueError("stages must not be empty; a network needs at least one row")
        _check_count("layers of all stages", sum(stage.layers for stage in self.stages))
        _check_count("classes", self.classes, minimum=0)
        _check_count("input_channels", self.input_channels)
        if not (math.isfinite(self.norm_epsilon) and self.norm_epsilon > 0):
            raise ValueError(f"norm_epsilon must be positive, got {self.norm_epsilon}")
        for name in ("norm_momentum", "dropout", "stochastic_depth_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        self._check_pools()

    def _check_pools(self) -> None:
        channels = self.input_channels
        for number, stage in enumerate(self.stages):
            if stage.operator is Operator.MAX_POOL and stage.channels != channels:
                raise ValueError(f"stage {number}: max_pool keeps its {channels} input channels, got {stage.channels}")
            channels = stage.channels

    @property
    def features(self) -> int:
        """Channels of the last feature map, which pooling hands to the classifier."""
        return self.stages[-1].channels
