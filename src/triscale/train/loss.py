"""What is minimised: cross entropy with smoothed labels, and which weights decay."""

from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase


def smoothed_cross_entropy(
    logits: Tensor, targets: Tensor, *, smoothing: float = 0.1, reduction: Literal["mean", "sum", "none"] = "mean"
) -> Tensor:
    """Cross entropy of (N, classes) with targets * (1 - smoothing) + smoothing / classes (Szegedy et al. 2016).

    `targets` are labels (N,) or, where images are mixed, shares (N, classes) that add up to 1.
    """
    return functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction=reduction)


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
