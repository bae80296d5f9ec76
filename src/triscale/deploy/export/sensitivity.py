"""Which layers suffer most from int8, found in torch, whatever the format."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from triscale.deploy.export.source import PixelNetwork


def weighted_layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Convolutions and linear layers by name, in the order in which they are defined."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}


def fragile_layers(network: nn.Module) -> frozenset[str]:
    """Those that int8 is known to hurt: the first and the last, and squeeze-and-excitation (few, and cheap)."""
    names = list(weighted_layers(network))
    return frozenset({*names[:1], *names[-1:], *(name for name in names if "squeeze_excite" in name)})


@torch.inference_mode()
def rank_sensitivity(
    module: PixelNetwork,
    images: npt.NDArray[np.uint8],
    *,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> tuple[str, ...]:
    """Layers of `module.network`, first the one whose rounding alone changes the logits most (mean square)."""
    pixels = torch.from_numpy(images)
    exact = module(pixels)
    layers = weighted_layers(module.network)
    changes = {}
    for number, (name, layer) in enumerate(layers.items()):
        tell(number, len(layers))
        with _rounded(layer):
            changes[name] = float((module(pixels) - exact).square().mean())
    return tuple(sorted(changes, key=lambda name: -changes[name]))


@contextmanager
def _rounded(layer: nn.Conv2d | nn.Linear) -> Iterator[None]:
    """Weights rounded to 8 bits by output channel, inputs to 8 bits between their extremes, inside the block."""
    weight = layer.weight.data
    step = weight.flatten(1).abs().amax(1).clamp_min(1e-12).view(-1, *[1] * (weight.ndim - 1)) / 127
    hook = layer.register_forward_pre_hook(_round_input)
    layer.weight.data = (weight / step).round() * step
    try:
        yield
    finally:
        layer.weight.data = weight
        hook.remove()


def _round_input(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
    (values,) = inputs
    low, high = values.amin().clamp_max(0), values.amax().clamp_min(0)
    step = ((high - low) / 255).clamp_min(1e-12)
    return (((values / step).round().clamp(low / step, high / step)) * step,)
