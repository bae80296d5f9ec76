"""Networks with random weights that behave like trained ones, so that equal logits prove something.

Random batch-norm statistics alone let activations grow or vanish from layer to layer: then the logits of equal networks
differ by rounding, or those of different images agree. Here every norm's statistics follow what really reaches it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from triscale.arch.spec import NetworkSpec
from triscale.models.network import BlockModule, Network, build

SHARE_OF_MEAN = 0.3
"""Of the mean variance, added to each: channels that hardly vary would only amplify rounding."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A network in evaluation mode, images, and its logits of them."""

    network: Network
    images: Tensor
    logits: Tensor


def _settle(norm: nn.BatchNorm2d, values: Tensor, generator: torch.Generator) -> None:
    variance, mean = torch.var_mean(values, (0, 2, 3), unbiased=False)
    uneven = torch.empty_like(variance).uniform_(0.7, 1.4, generator=generator)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    norm.running_var.copy_(variance * uneven + SHARE_OF_MEAN * variance.mean())
    norm.running_mean.copy_(mean).add_(variance.sqrt() * torch.randn(mean.shape, generator=generator), alpha=0.2)
    norm.weight.uniform_(0.8, 1.2, generator=generator)
    norm.bias.normal_(0, 0.2, generator=generator)


def _damp(norm: nn.BatchNorm2d, _: object) -> None:
    norm.weight.mul_(0.2)


@torch.no_grad()
def settled(spec: NetworkSpec, *, pixels: int, seed: int = 0) -> Settled:
    """`spec` with seeded weights and batch norms all different from one another, and four images of `pixels`."""
    generator = torch.Generator().manual_seed(seed)
    network = build(spec, seed=seed).eval()
    images = torch.randn(4, spec.input_channels, pixels, pixels, generator=generator)
    hooks = [
        norm.register_forward_pre_hook(lambda norm, inputs: _settle(norm, inputs[0], generator))
        for norm in network.modules()
        if isinstance(norm, nn.BatchNorm2d)
    ]
    # A residual branch adds little to its shortcut in trained networks; random ones are chaotic without that.
    for block in network.modules():
        if isinstance(block, BlockModule) and block.shortcut is not None:
            last = [module for module in block.branch.modules() if isinstance(module, nn.BatchNorm2d)][-1]
            hooks.append(last.register_forward_pre_hook(_damp))
    for module in network.modules():
        # The authors' code starts all biases at zero.
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            module.bias.normal_(0, 0.2, generator=generator)
    network(images)
    for hook in hooks:
        hook.remove()
    return Settled(network, images, network(images))


def assert_same_logits(theirs: Tensor, expected: Settled) -> None:
    """Logits equal within 1e-4, of images that they tell apart by a hundred times that."""
    spread = expected.logits.std(dim=0).mean()
    assert spread > 1e-2, f"the logits of different images differ by {spread:.1e} only"
    difference = (theirs - expected.logits).abs().max().item()
    assert difference < 1e-4, f"logits differ by {difference:.1e}"
