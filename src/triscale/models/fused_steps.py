"""The steps of a fused block, forward and backward, on channels-last maps (images, height, width, channels).

A raw map is a convolution's output before its batch norm. Nothing here records gradients: `fused_functions` does.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from triscale.arch.spec import Activation
from triscale.kernels import native

IDENTITY = 0
CODES = {Activation.SILU: 1, Activation.RELU: 2, Activation.RELU6: 3}


def kernels() -> ModuleType:
    """The compiled module, which whoever calls has made sure of."""
    module = native()
    assert module is not None
    return module


def empty(images: int, height: int, width: int, channels: int) -> Tensor:
    """A map with no values in it, in memory that is used again once the tensor is gone."""
    made: Tensor = kernels().empty_map(images, height, width, channels)
    return made


def empty_like(values: Tensor) -> Tensor:
    """A map of the same shape."""
    images, height, width, channels = values.shape
    return empty(images, height, width, channels)


def as_map(values: Tensor) -> Tensor:
    """(N, C, H, W) as (N, H, W, C), without a copy where the memory is in that order."""
    return values.detach().permute(0, 2, 3, 1).contiguous()


def as_images(values: Tensor) -> Tensor:
    """(N, H, W, C) as (N, C, H, W), the same memory."""
    return values.permute(0, 3, 1, 2)


def update_running(norm: nn.BatchNorm2d, statistics: Tensor, rows: int) -> None:
    """Running mean and unbiased variance, as torch's batch norm updates them."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(statistics[0], norm.momentum)
    norm.running_var.lerp_(statistics[1] * (rows / max(rows - 1, 1)), norm.momentum)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What a batch norm does to one raw map: activation((x - mean) * scale + beta)."""

    affine: Tensor
    """(3, C): mean, scale, beta."""
    inverse_deviation: Tensor
    """(C,)."""
    rows: int
    """Images times pixels."""

    @staticmethod
    def of(norm: nn.BatchNorm2d, statistics: Tensor, raw: Tensor) -> "Normalisation":
        """From the (2, C) mean and biased variance of `raw`; updates the running statistics."""
        rows = raw.shape[0] * raw.shape[1] * raw.shape[2]
        update_running(norm, statistics, rows)
        inverse = torch.rsqrt(statistics[1] + norm.eps)
        affine = torch.stack((statistics[0], norm.weight.detach() * inverse, norm.bias.detach()))
        return Normalisation(affine, inverse, rows)

    def gradients(self, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the weight, of the bias, and the (3, C) coefficients of the raw gradient.

        sums: (2, C), of the gradient g with respect to the norm's output and of g * (x - mean). The gradient with
        respect to x is a * g + b * (x - mean) + d (Ioffe and Szegedy 2015, section 3).
        """
        weight = sums[1] * self.inverse_deviation
        scale = self.affine[1]
        b = scale * self.inverse_deviation * weight * (-1 / self.rows)
        d = scale * sums[0] * (-1 / self.rows)
        return weight, sums[0], torch.stack((scale, b, d))


def statistics_of(raw: Tensor) -> Tensor:
    """(2, C): mean and biased variance of a raw map."""
    statistics = raw.new_empty(2, raw.shape[3])
    kernels().statistics(torch.get_num_threads(), raw, statistics)
    return statistics


def pointwise(
    values: Tensor,
    weight: Tensor,
    *,
    affine: Tensor | None = None,
    activation: int = IDENTITY,
    factor: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The 1x1 convolution of what `affine`, `activation` and `factor` make of `values`, and its statistics."""
    images, height, width, _ = values.shape
    raw = empty(images, height, width, weight.shape[0])
    statistics = values.new_empty(2, weight.shape[0])
    matrix = weight.detach().flatten(1)
    kernels().pointwise_forward(torch.get_num_threads(), values, affine, activation, factor, matrix, raw, statistics)
    return raw, statistics


def pointwise_gradients(
    source: Any,
    values: Tensor,
    weight: Tensor,
    *,
    affine: Tensor | None = None,
    activation: int = IDENTITY,
    factor: Tensor | None = None,
    shortcut: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of what was multiplied [+ shortcut] and of the weight, and the kernel's five sums by image."""
    gradient = empty_like(values)
    weight_gradient = weight.new_empty(weight.shape[:2])
    sums = None if affine is None else values.new_zeros(5, values.shape[0], values.shape[3])
    kernels().pointwise_backward(
        torch.get_num_threads(),
        source,
        values,
        affine,
        activation,
        factor,
        weight.detach().flatten(1),
        shortcut,
        gradient,
        weight_gradient,
        sums,
    )
    return gradient, weight_gradient.view_as(weight), sums


@dataclass(frozen=True, slots=True)
class Excitation:
    """Squeeze-and-excitation's small products, all (N, channels)."""

    mean: Tensor
    squeezed: Tensor
    scale: Tensor

    @staticmethod
    def of(mean: Tensor, weights: "ExcitationWeights", activation: int) -> "Excitation":
        """From the mean of the map."""
        squeezed = torch.addmm(weights.reduce_bias, mean, weights.reduce.t())
        expanded = torch.addmm(weights.expand_bias, _activated(squeezed, activation), weights.expand.t())
        return Excitation(mean, squeezed, torch.sigmoid(expanded))

    def gradients(self, of_scale: Tensor, weights: "ExcitationWeights", activation: int) -> tuple[Tensor, ...]:
        """Of the mean, and of the four weights in their order."""
        expanded = of_scale * self.scale * (1 - self.scale)
        active = _activated(self.squeezed, activation)
        squeezed = expanded @ weights.expand * _slope(self.squeezed, activation)
        return (
            squeezed @ weights.reduce,
            squeezed.t() @ self.mean,
            squeezed.sum(0),
            expanded.t() @ active,
            expanded.sum(0),
        )


@dataclass(frozen=True, slots=True)
class ExcitationWeights:
    """The two convolutions as matrices (out, in) and biases."""

    reduce: Tensor
    reduce_bias: Tensor
    expand: Tensor
    expand_bias: Tensor


def _activated(values: Tensor, activation: int) -> Tensor:
    if activation == CODES[Activation.SILU]:
        return torch.nn.functional.silu(values)
    return values.clamp(0, 6 if activation == CODES[Activation.RELU6] else None)


def _slope(values: Tensor, activation: int) -> Tensor:
    if activation == CODES[Activation.SILU]:
        sigmoid = torch.sigmoid(values)
        return sigmoid + values * sigmoid * (1 - sigmoid)
    inside = values > 0
    return (inside & (values < 6) if activation == CODES[Activation.RELU6] else inside).to(values.dtype)
