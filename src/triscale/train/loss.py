"""What is minimised: cross entropy with smoothed labels, and which weights decay."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits (N, classes) and labels to the sum of the images' losses."""


def smoothed_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    smoothing: float = 0.1,
    weights: Tensor | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Cross entropy of (N, classes) with targets * (1 - smoothing) + smoothing / classes (Szegedy et al. 2016).

    `targets` are labels (N,) or, where images are mixed, shares (N, classes) that add up to 1. `weights` (classes,)
    multiply what each class adds.
    """
    return functional.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction=reduction)


def smoothed_binary_cross_entropy(
    logits: Tensor, targets: Tensor, *, smoothing: float = 0.1, positive_weights: Tensor | None = None
) -> Tensor:
    """Sum over (N, classes) of each sigmoid's cross entropy with targets * (1 - smoothing) + smoothing / 2.

    `targets` are 0 or 1; `positive_weights` (classes,) multiply what is lost where they are 1.
    """
    smoothed = targets.to(logits.dtype) * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=positive_weights, reduction="sum")


MOST_POSITIVE_WEIGHT = 100.0
"""Beyond it one image of a rare label would outweigh a batch."""


def class_weights(counts: Sequence[int]) -> Tensor:
    """(classes,) weights in inverse proportion to the classes' images, 1 on average over the images.

    A class without images has weight 0.
    """
    images = torch.tensor(counts, dtype=torch.float64)
    present = images > 0
    weights = images.sum() / (present.sum() * images.clamp(min=1))
    return (weights * present).float()


def positive_weights(counts: Sequence[int], *, images: int) -> Tensor:
    """(classes,): images without each label for each with it, at most `MOST_POSITIVE_WEIGHT`."""
    positive = torch.tensor(counts, dtype=torch.float64)
    return ((images - positive) / positive.clamp(min=1)).clamp(1 / MOST_POSITIVE_WEIGHT, MOST_POSITIVE_WEIGHT).float()


class Decay(NamedTuple):
    """Trainable parameters in the order of `network.parameters()`, split by whether they decay."""

    decayed: list[nn.Parameter]
    others: list[nn.Parameter]


def decayed_parameters(network: nn.Module, *, biases: bool, norms: bool = False) -> Decay:
    """Which trainable parameters of `network` decay: weights, and if asked for biases and those of norm layers.

    The EfficientNet authors let biases decay (squeeze-and-excitation, classifier), EfficientNetV2's do not; neither
    lets batch norm's scales and offsets.
    """
    decays: dict[nn.Parameter, bool] = {}
    for module in network.modules():
        is_norm = isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm)
        for name, parameter in module.named_parameters(recurse=False):
            decays[parameter] = norms if is_norm else biases or name != "bias"
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return Decay(
        decayed=[parameter for parameter in trainable if decays[parameter]],
        others=[parameter for parameter in trainable if not decays[parameter]],
    )
