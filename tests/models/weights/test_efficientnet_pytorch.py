"""The PyPI packages efficientnet-pytorch and efficientnet-lite-pytorch against ours."""

import math
from dataclasses import replace

import efficientnet_lite_pytorch
import efficientnet_pytorch
import pytest
from torch import nn

from tests.models.weights.equality import assert_equal_logits, without_values
from triscale.arch import get_network, square
from triscale.arch.ops import Norm
from triscale.models.weights import Library
from triscale.models.weights.efficientnet_pytorch_names import networks
from triscale.models.weights.libraries import rows
from triscale.models.weights.names import holders

NAMES = tuple(spec.name for spec in networks())
LARGE = 20_000_000
"""Parameters; the logits of networks beyond are compared in the slow run."""


def create(name: str, **settings: object) -> nn.Module:
    """The package's model of that name; its padding is fixed when it is built, for `image_size`."""
    package = efficientnet_lite_pytorch if "lite" in name else efficientnet_pytorch
    module: nn.Module = package.EfficientNet.from_name(name, **settings)
    return module


def is_large(name: str) -> bool:
    return sum(math.prod(row.shape) for row in rows(get_network(name), Library.EFFICIENTNET_PYTORCH)) > LARGE


def by_size(names: tuple[str, ...]) -> list[object]:
    return [pytest.param(name, marks=pytest.mark.slow if is_large(name) else ()) for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_tensors_and_norms_are_the_packages(name: str) -> None:
    spec = get_network(name)
    mapped = rows(spec, Library.EFFICIENTNET_PYTORCH)
    with without_values():
        peer = create(name)
    shapes = {key: tuple(tensor.shape) for key, tensor in peer.state_dict().items()}
    assert {row.theirs: row.their_shape for row in mapped} == shapes
    modules = dict(peer.named_modules())
    theirs = {row.ours: row.theirs for row in mapped}
    for holder in holders(spec):
        if isinstance(holder.op, Norm):
            norm = modules[theirs[f"{holder.ours}.weight"].removesuffix(".weight")]
            assert (norm.eps, norm.momentum) == (holder.op.epsilon, pytest.approx(holder.op.momentum))


@pytest.mark.parametrize("pixels", [64, 75])
@pytest.mark.parametrize("name", by_size(NAMES))
def test_logits_equal_the_packages_both_ways(name: str, pixels: int) -> None:
    with without_values():
        peer = create(name, image_size=pixels)
    assert_equal_logits(get_network(name), Library.EFFICIENTNET_PYTORCH, peer, sizes=(square(pixels),))


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-lite0", "efficientnet-lite2"])
def test_logits_equal_the_packages_at_native_resolution(name: str) -> None:
    spec = get_network(name)
    assert_equal_logits(spec, Library.EFFICIENTNET_PYTORCH, create(name), sizes=(spec.resolution,))


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-lite0"])
def test_other_classes_and_channels(name: str) -> None:
    spec = replace(get_network(name), classes=7, input_channels=5)
    peer = create(name, image_size=64, num_classes=7, in_channels=5)
    assert_equal_logits(spec, Library.EFFICIENTNET_PYTORCH, peer, sizes=(square(64),))


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv1", "efficientnetv2-b0"])
def test_other_networks_have_no_names_there(name: str) -> None:
    with pytest.raises(ValueError, match=f"knows EfficientNet B0-B8, L2 and Lite layouts; {name} is another"):
        rows(get_network(name), Library.EFFICIENTNET_PYTORCH)
