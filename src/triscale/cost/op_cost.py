"""What one op costs: parameters, multiply-adds and activations."""

from collections.abc import Callable
from typing import Any, NamedTuple

from triscale.arch.ops import (
    Activate,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    MaxPool,
    Norm,
    Op,
    Shape,
    SqueezeExcite,
    output_shape,
)


class Cost(NamedTuple):
    """Counts for one image. `params` and `buffers` do not depend on its resolution."""

    params: int
    """Trained values."""
    macs: int
    """Multiply-adds of convolutions and matrix products; biases, norms, means and scalings count nothing."""
    activations: int
    """Values that convolutions and matrix products write (Dollár et al. 2021, section 3)."""
    buffers: int
    """Values stored but not trained: the running means and variances of batch norms."""


class Rates(NamedTuple):
    """The cost of an op as a function of the pixels it writes."""

    params: int = 0
    buffers: int = 0
    image_macs: int = 0
    """Multiply-adds of an image, whatever its resolution."""
    image_activations: int = 0
    pixel_macs: int = 0
    """Multiply-adds of each pixel of the op's output."""
    pixel_activations: int = 0

    def at(self, pixels: int) -> Cost:
        """The cost of an op that writes `pixels` pixels."""
        return Cost(
            self.params,
            self.image_macs + self.pixel_macs * pixels,
            self.image_activations + self.pixel_activations * pixels,
            self.buffers,
        )


_FREE = Rates()


def _conv_rates(op: Conv) -> Rates:
    weights = op.in_channels // op.groups * op.kernel * op.kernel * op.out_channels
    params = weights + op.out_channels if op.bias else weights
    return Rates(params, pixel_macs=weights, pixel_activations=op.out_channels)


def _squeeze_excite_rates(op: SqueezeExcite) -> Rates:
    """Two 1x1 convolutions with biases, on the single pixel of the mean."""
    weights = 2 * op.channels * op.squeezed_channels
    outputs = op.channels + op.squeezed_channels
    return Rates(weights + outputs, image_macs=weights, image_activations=outputs)


def _linear_rates(op: Linear) -> Rates:
    weights = op.in_features * op.out_features
    return Rates(weights + op.out_features, image_macs=weights, image_activations=op.out_features)


_RATES: dict[type, Callable[[Any], Rates]] = {
    Conv: _conv_rates,
    Norm: lambda op: Rates(params=2 * op.channels, buffers=2 * op.channels),
    Activate: lambda _: _FREE,
    SqueezeExcite: _squeeze_excite_rates,
    MaxPool: lambda _: _FREE,
    GlobalPool: lambda _: _FREE,
    Dropout: lambda _: _FREE,
    Linear: _linear_rates,
}


def op_rates(op: Op) -> Rates:
    """What `op` costs per image and per pixel that it writes."""
    return _RATES[type(op)](op)


def op_cost(op: Op, shape: Shape) -> Cost:
    """The cost of `op` on one image's feature map of `shape`."""
    _, height, width = output_shape(op, shape)
    return op_rates(op).at(height * width)
