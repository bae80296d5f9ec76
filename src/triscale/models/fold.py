"""Batch norms merged into the convolutions before them: the same function with fewer passes, for inference."""

import torch
from torch import Tensor, nn

from triscale.models.network import Network, assemble


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does both, computed in float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.double() - norm.running_mean.double() * scale
    weight = conv.weight.double() * scale[:, None, None, None]
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


@torch.no_grad()
def fold_batch_norms(network: Network) -> Network:
    """A copy of `network` for inference, in evaluation mode and without batch norms; `network` does not change.

    Logits agree with `network.eval()` within float rounding.
    """
    if network.folded:
        return network
    first = next(network.parameters(), torch.empty(0))  # a network that only pools has none
    folded = assemble(network.spec, folded=True, device=first.device).to(first.dtype)
    state = dict(network.state_dict())
    modules = dict(network.named_modules())
    for name, norm in modules.items():
        if isinstance(norm, nn.BatchNorm2d):
            # Lowering names a norm after its convolution: expand_conv, expand_norm.
            conv_name = name.removesuffix("norm") + "conv"
            conv = modules[conv_name]
            assert isinstance(conv, nn.Conv2d)
            for key in [key for key in state if key.startswith(f"{name}.")]:
                del state[key]
            state[f"{conv_name}.weight"], state[f"{conv_name}.bias"] = _folded(conv, norm)
    folded.load_state_dict(state)
    return folded.set_memory_format(network.memory_format).eval()
