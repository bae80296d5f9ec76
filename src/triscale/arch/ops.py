"""The primitive operations every network lowers to. They carry their own settings, never a feature map's size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from triscale.arch.spec import Activation, Padding, Resolution


class Shape(NamedTuple):
    """One image's feature map: channels, height, width."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """Number of values."""
        return self.channels * self.height * self.width


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution with a square kernel; depthwise where groups equals both channel counts."""

    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    padding: Padding = Padding.SYMMETRIC
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch normalisation."""

    channels: int
    epsilon: float
    momentum: float


@dataclass(frozen=True, slots=True)
class Activate:
    """Elementwise nonlinearity."""

    activation: Activation


@dataclass(frozen=True, slots=True)
class SqueezeExcite:
    """Global mean, 1x1 convolution, activation, 1x1 convolution, sigmoid, scale; both convolutions have biases."""

    channels: int
    squeezed_channels: int
    activation: Activation


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Largest value under a square window; padding counts as minus infinity."""

    kernel: int
    stride: int
    padding: Padding


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """Mean over height and width."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """Zeroes a share of the features in training."""

    rate: float


@dataclass(frozen=True, slots=True)
class Linear:
    """Matrix product with a bias."""

    in_features: int
    out_features: int


Op = Conv | Norm | Activate | SqueezeExcite | MaxPool | GlobalPool | Dropout | Linear
NamedOp = tuple[str, Op]


def output_resolution(resolution: Resolution, stride: int) -> Resolution:
    """ceil(size / stride), for either padding and any odd kernel."""
    return Resolution(-(-resolution.height // stride), -(-resolution.width // stride))


def same_padding(size: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis of `size` pixels under TensorFlow's SAME rule."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _conv_shape(op: Conv, shape: Shape) -> Shape:
    return Shape(op.out_channels, *output_resolution(Resolution(shape.height, shape.width), op.stride))


def _max_pool_shape(op: MaxPool, shape: Shape) -> Shape:
    return Shape(shape.channels, *output_resolution(Resolution(shape.height, shape.width), op.stride))


_SHAPES: dict[type, Callable[..., Shape]] = {
    Conv: _conv_shape,
    Norm: lambda _, shape: shape,
    Activate: lambda _, shape: shape,
    SqueezeExcite: lambda _, shape: shape,
    MaxPool: _max_pool_shape,
    GlobalPool: lambda _, shape: Shape(shape.channels, 1, 1),
    Dropout: lambda _, shape: shape,
    Linear: lambda op, _: Shape(op.out_features, 1, 1),
}


def output_shape(op: Op, shape: Shape) -> Shape:
    """Shape that `op` makes of an input of `shape`."""
    return _SHAPES[type(op)](op, shape)
