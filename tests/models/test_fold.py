"""Folded networks compute what the unfolded ones do."""

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from tests.randomise import randomise_norms
from tests.strategies import network_specs
from triscale.arch import NetworkSpec, get_network, square
from triscale.arch.rows import max_pool
from triscale.models.fold import fold_batch_norms
from triscale.models.network import Network, build


def assert_same_function(network: Network, images: torch.Tensor) -> None:
    network = network.double()  # leaves only the algebra to differ
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        expected, got = network.eval()(images.double()), folded(images.double())
    scale = expected.abs().max().clamp(min=1e-3)
    assert (got - expected).abs().max() / scale < 1e-10


def random_images(channels: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-edgetpu-s", "mobilenetv1", "resnet18", "resnet50"])
def test_zoo(name: str) -> None:
    network = build(get_network(name), seed=0)
    randomise_norms(network, seed=1)
    assert_same_function(network, random_images(3, 63, 64))


@settings(max_examples=20, deadline=None)
@given(network_specs())
def test_random_specs(spec: NetworkSpec) -> None:
    network = build(spec, seed=0)
    randomise_norms(network, seed=1)
    assert_same_function(network, random_images(spec.input_channels, 35, 34))


def test_folding_leaves_the_original_alone_and_twice_is_once() -> None:
    network = build(get_network("mobilenetv1-w0.25"), seed=0)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold_batch_norms(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network.training
    assert fold_batch_norms(folded) is folded


def test_a_network_without_weights_folds_too() -> None:
    spec = NetworkSpec("pool", square(8), stages=(max_pool(3, 2, 3),), classes=0)
    images = random_images(3, 8, 8)
    assert torch.equal(fold_batch_norms(build(spec, seed=0))(images), build(spec, seed=0).eval()(images))
