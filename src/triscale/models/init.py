"""Weight initialisation by the EfficientNet authors' code."""

import math

import torch
from torch import nn


def _init_conv(conv: nn.Conv2d, generator: torch.Generator | None) -> None:
    """N(0, 2 / fan_out), not truncated. TensorFlow counts a depthwise kernel's fan-out as kernel area alone."""
    fan_out = conv.kernel_size[0] * conv.kernel_size[1] * conv.out_channels // conv.groups
    nn.init.normal_(conv.weight, 0.0, math.sqrt(2 / fan_out), generator=generator)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def _init_linear(linear: nn.Linear, generator: torch.Generator | None) -> None:
    """U(-1, 1) / sqrt(classes)."""
    bound = 1 / math.sqrt(linear.out_features)
    nn.init.uniform_(linear.weight, -bound, bound, generator=generator)
    nn.init.zeros_(linear.bias)


def initialise(module: nn.Module, *, seed: int | None = None) -> None:
    """Set every weight and statistic of `module` afresh; the same `seed` gives the same weights.

    Without a seed, torch's global generator decides.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            _init_conv(child, generator)
        elif isinstance(child, nn.Linear):
            _init_linear(child, generator)
        elif isinstance(child, nn.BatchNorm2d):
            child.reset_parameters()
