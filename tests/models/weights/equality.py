"""Proof that weights mean the same here and in another library: equal logits, both ways."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn

from tests.randomise import randomise_norms
from triscale.arch import NetworkSpec
from triscale.models.network import BlockModule, Network, build
from triscale.models.weights import Library, from_peer, to_peer

TOLERANCE = 1e-4
"""Largest difference of two logits in float32."""
QUIETEST = 0.03
"""Logits must vary at least so much over the classes, or their equality would say little."""
DAMPING = 0.25
"""Of the last norm in a residual branch: depth must not let activations grow until float32 runs out of digits."""
SIZES = ((64, 64), (65, 75))
"""Even sizes tell TensorFlow's padding from PyTorch's; odd ones tell where each of them rounds."""


@contextmanager
def without_values() -> Iterator[None]:
    """Build modules on the meta device, and quickly: there torch takes milliseconds for drawing no numbers."""

    def unchanged(tensor: Tensor, *_: object, **__: object) -> Tensor:
        return tensor

    drawing = patch.multiple(torch.Tensor, normal_=unchanged, uniform_=unchanged)
    with torch.device("meta"), drawing:
        yield


@torch.no_grad()
def randomised(spec: NetworkSpec, *, seed: int) -> Network:
    """The network of `spec` in evaluation mode, with seeded weights and batch-norm statistics."""
    network = build(spec, seed=seed)
    randomise_norms(network, seed=seed)
    for block in network.modules():
        if isinstance(block, BlockModule) and block.shortcut is not None:
            *_, last = (module for module in block.branch if isinstance(module, nn.BatchNorm2d))
            last.weight.mul_(DAMPING)
    return network.eval()


def logits(network: nn.Module, sizes: Iterable[tuple[int, int]], channels: int) -> list[Tensor]:
    """Of one seeded random image a size."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return [network(torch.randn(1, channels, *size, generator=generator)) for size in sizes]


def assert_equal_logits(
    spec: NetworkSpec, library: Library, peer: nn.Module, *, sizes: Iterable[tuple[int, int]] = SIZES
) -> None:
    """Our weights in `peer` give our logits, and come back from it unchanged; `peer` may be on the meta device."""
    ours = randomised(spec, seed=0)
    peer.load_state_dict(to_peer(ours.state_dict(), spec, library), strict=True, assign=True)
    peer.eval()
    back = from_peer(peer.state_dict(), spec, library)
    assert back.keys() == ours.state_dict().keys()
    assert [name for name, tensor in ours.state_dict().items() if not torch.equal(tensor, back[name])] == []
    sizes = tuple(sizes)
    pairs = zip(logits(ours, sizes, spec.input_channels), logits(peer, sizes, spec.input_channels), strict=True)
    for size, (mine, theirs) in zip(sizes, pairs, strict=True):
        assert mine.std() > QUIETEST, f"at {size} the logits hardly differ from one another"
        assert (mine - theirs).abs().max() < TOLERANCE, f"at {size}"
