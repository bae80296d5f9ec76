"""Primitive ops as torch modules, one for each kind, under the same settings."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from triscale.arch.ops import (
    Activate,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    MaxPool,
    NamedOp,
    Norm,
    Op,
    SqueezeExcite,
    same_padding,
)
from triscale.arch.spec import Activation, Padding


def _same_sides(images: Tensor, *, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom padding of (N, C, H, W) under TensorFlow's SAME rule, which depends on H and W."""
    vertical = same_padding(images.shape[2], kernel=kernel, stride=stride)
    horizontal = same_padding(images.shape[3], kernel=kernel, stride=stride)
    return (*horizontal, *vertical)


class SameConv2d(nn.Conv2d):
    """Strided convolution padded as TensorFlow pads: (N, C, H, W) to (N, out, ceil(H / stride), ceil(W / stride)).

    With stride 1 the plain module does the same.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sides = _same_sides(input, kernel=self.kernel_size[0], stride=self.stride[0])
        left, right, top, bottom = sides
        if left == right and top == bottom:
            # Even padding needs no copy of the input.
            return functional.conv2d(input, weight, bias, self.stride, (top, left), 1, self.groups)
        return functional.conv2d(functional.pad(input, sides), weight, bias, self.stride, 0, 1, self.groups)


class SameMaxPool2d(nn.Module):
    """Max pooling padded as TensorFlow pads."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, ceil(H / stride), ceil(W / stride))."""
        sides = _same_sides(images, kernel=self.kernel, stride=self.stride)
        return functional.max_pool2d(functional.pad(images, sides, value=-math.inf), self.kernel, self.stride)


_FUNCTIONS: dict[Activation, Callable[..., Tensor]] = {
    Activation.SILU: functional.silu,
    Activation.RELU: functional.relu,
    Activation.RELU6: functional.relu6,
}


class ActivationLayer(nn.Module):
    """Nonlinearity; in place where no gradient is recorded, since its input is always a fresh tensor there."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, values: Tensor) -> Tensor:
        """Same shape as the input."""
        return _FUNCTIONS[self.activation](values, inplace=not torch.is_grad_enabled())

    def extra_repr(self) -> str:
        """Shown by print(network)."""
        return str(self.activation)


class SqueezeExcitation(nn.Module):
    """Channel weights from the map's mean (Hu et al. 2018)."""

    def __init__(self, op: SqueezeExcite) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(op.channels, op.squeezed_channels, 1)
        self.activation = ActivationLayer(op.activation)
        self.expand = nn.Conv2d(op.squeezed_channels, op.channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, H, W) scaled by one weight a channel and image."""
        squeezed = values.mean((2, 3), keepdim=True)
        return values * torch.sigmoid(self.expand(self.activation(self.reduce(squeezed))))


class GlobalMean(nn.Module):
    """Mean over height and width: (N, C, H, W) to (N, C)."""

    def forward(self, values: Tensor) -> Tensor:
        """(N, C)."""
        return values.mean((2, 3))


class StochasticDepth(nn.Module):
    """Drops whole residual branches, image by image, in training (Huang et al. 2016).

    Survivors are divided by the survival probability, so the expected output does not change.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """Same shape as the input."""
        factor = self.factor(values)
        return values if factor is None else values * factor

    def factor(self, values: Tensor) -> Tensor | None:
        """What each image's branch is multiplied by, (N, 1, 1, 1), drawn afresh; None where nothing is dropped."""
        if not self.training or self.rate == 0:
            return None
        survival = 1 - self.rate
        mask = values.new_empty(values.shape[0], 1, 1, 1).bernoulli_(survival)
        return mask / survival if survival else mask

    def extra_repr(self) -> str:
        """Shown by print(network)."""
        return f"rate={self.rate:g}"


def _conv(op: Conv) -> nn.Module:
    same = op.padding is Padding.SAME and op.stride > 1
    kind = SameConv2d if same else nn.Conv2d
    return kind(
        op.in_channels,
        op.out_channels,
        op.kernel,
        op.stride,
        padding=0 if same else op.kernel // 2,
        groups=op.groups,
        bias=op.bias,
    )


def _max_pool(op: MaxPool) -> nn.Module:
    if op.padding is Padding.SAME:
        return SameMaxPool2d(op.kernel, op.stride)
    return nn.MaxPool2d(op.kernel, op.stride, padding=op.kernel // 2)


_LAYERS: dict[type, Callable[[Any], nn.Module]] = {
    Conv: _conv,
    Norm: lambda op: nn.BatchNorm2d(op.channels, eps=op.epsilon, momentum=op.momentum),
    Activate: lambda op: ActivationLayer(op.activation),
    SqueezeExcite: SqueezeExcitation,
    MaxPool: _max_pool,
    GlobalPool: lambda _: GlobalMean(),
    Dropout: lambda op: nn.Dropout(op.rate),
    Linear: lambda op: nn.Linear(op.in_features, op.out_features),
}


def layer(op: Op) -> nn.Module:
    """The module that computes `op`."""
    return _LAYERS[type(op)](op)


def sequence(ops: Iterable[NamedOp]) -> nn.Sequential:
    """The modules of `ops` in order, under the ops' names."""
    return nn.Sequential(OrderedDict((name, layer(op)) for name, op in ops))
