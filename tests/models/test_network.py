"""The built module against its spec, its cost and hand-computed pieces."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn import functional

from tests.randomise import randomise_norms
from tests.strategies import network_specs
from triscale.arch import NetworkSpec, get_network, network_names, square
from triscale.arch.blocks import blocks
from triscale.arch.spec import Activation, Padding
from triscale.models.layers import SameConv2d, SameMaxPool2d, StochasticDepth
from triscale.models.network import BlockModule, build

SMALL = (
    "efficientnet-b0",
    "efficientnet-edgetpu-s",
    "efficientnetv2-b0",
    "mobilenetv1",
    "resnet18",
    "resnet50",
)


@pytest.mark.parametrize("name", network_names())
def test_every_block_has_the_resolved_shape(name: str) -> None:
    spec = get_network(name)
    with torch.device("meta"):
        network = build(spec).eval()
        values = torch.empty(1, 3, *spec.resolution)
    for stage, modules in zip(blocks(spec), network.stages, strict=True):
        for block, module in zip(stage, modules, strict=True):
            assert values.shape[1:] == block.in_shape
            values = module(values)
            assert values.shape[1:] == block.out_shape
    assert network.head(values).shape == (1, spec.classes)


@settings(max_examples=25, deadline=None)
@given(network_specs())
def test_random_specs_run_at_any_size(spec: NetworkSpec) -> None:
    network = build(spec, seed=0).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, spec.input_channels, 33, 47))
    assert logits.shape == (2, spec.classes or spec.features)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", SMALL)
def test_forward_is_head_of_features(name: str) -> None:
    network = build(get_network(name), seed=0).eval()
    images = torch.randn(2, 3, 48, 65)
    with torch.no_grad():
        features = network.features(images)
        assert torch.equal(network(images), network.head(features))
        assert torch.equal(network.forward_features(images), features)
        assert torch.equal(network.forward_head(features, pre_logits=True), features.mean((2, 3)))
        maps = network.features_at(images, [2, -1, 0])
    assert torch.equal(maps[1], features)
    assert [m.shape[1] for m in maps] == [network.spec.stages[i].channels for i in (2, -1, 0)]


def test_features_at_refuses_a_stage_that_does_not_exist() -> None:
    network = build(get_network("resnet18"), seed=0)
    with pytest.raises(ValueError, match=r"stage 6 does not exist; resnet18 has stages 0\.\.5"):
        network.features_at(torch.zeros(1, 3, 32, 32), [0, 6])


def test_wrong_input_is_named() -> None:
    network = build(get_network("resnet18"), seed=0)
    with pytest.raises(ValueError, match=r"takes images \(N, 3, H, W\), got \(1, 1, 32, 32\)"):
        network(torch.zeros(1, 1, 32, 32))


def test_a_seed_fixes_the_weights() -> None:
    spec = get_network("mobilenetv1-w0.25")
    first, again, other = (build(spec, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_initialisation_follows_the_authors_code() -> None:
    network = build(get_network("efficientnet-b0"), seed=0)
    modules = dict(network.named_modules())
    block = "stages.6.1.branch"
    expected = {
        f"{block}.expand_conv": math.sqrt(2 / 1152),
        # TensorFlow's fan-out of a depthwise kernel is its area, not area times channels over groups of PyTorch.
        f"{block}.depthwise_conv": math.sqrt(2 / 25),
        f"{block}.project_conv": math.sqrt(2 / 192),
        f"{block}.squeeze_excite.reduce": math.sqrt(2 / 48),
    }
    for name, std in expected.items():
        weight = modules[name].weight
        # Four standard errors of an estimated standard deviation.
        assert weight.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * weight.numel())), name
    weight = network.classifier.weight
    bound = 1 / math.sqrt(1000)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((n.weight == 1).all() and (n.bias == 0).all() and (n.running_var == 1).all() for n in norms)
    assert all(n.eps == 1e-3 and n.momentum == 0.01 for n in norms)


@pytest.mark.parametrize(
    ("size", "kernel", "before", "after"), [(224, 3, 0, 1), (56, 5, 1, 2), (15, 5, 2, 2), (75, 3, 1, 1)]
)
def test_same_convolution_pads_as_tensorflow(size: int, kernel: int, before: int, after: int) -> None:
    """Offsets as facts of TensorFlow's rule: even inputs get the extra zero at the bottom and right."""
    conv = SameConv2d(2, 3, kernel, stride=2, bias=False)
    images = torch.randn(1, 2, size, size)
    padded = functional.pad(images, (before, after, before, after))
    assert torch.equal(conv(images), functional.conv2d(padded, conv.weight, stride=2))


def test_same_max_pool_ignores_padding() -> None:
    pooled = SameMaxPool2d(3, 2)(torch.full((1, 1, 4, 4), -5.0))
    assert torch.equal(pooled, torch.full((1, 1, 2, 2), -5.0))


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = StochasticDepth(0.25).train()
    values = torch.ones(4000, 2, 1, 3)
    out = layer(values)
    images = out.flatten(1)
    assert ((images == images[:, :1]).all(1)).all()
    assert out.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert out.mean().item() == pytest.approx(1, abs=4 * math.sqrt(0.25 / 0.75 / 4000))
    assert torch.equal(layer.eval()(values), values)


def test_stochastic_depth_of_rate_one_drops_everything() -> None:
    assert torch.equal(StochasticDepth(1.0).train()(torch.ones(3, 1, 1, 1)), torch.zeros(3, 1, 1, 1))


def test_stochastic_depth_grows_with_the_block_index() -> None:
    network = build(get_network("efficientnet-b0"), seed=0)
    rates = [m.stochastic_depth.rate for m in network.modules() if isinstance(m, BlockModule)]
    assert rates == [0.0, *(0.2 * index / 16 for index in range(16)), 0.0]


def test_reset_classifier_swaps_only_the_head() -> None:
    network = build(get_network("mobilenetv1-w0.25"), seed=0).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = network.features(images)
        network.reset_classifier(7, seed=1)
        assert torch.equal(network.features(images), before)
        assert network(images).shape == (1, 7)
        assert (network.num_classes, network.spec.classes, network.get_classifier().out_features) == (7, 7, 7)
        network.reset_classifier(0)
        assert torch.equal(network(images), before.mean((2, 3)))
    assert not network.classifier.training


def test_memory_format_changes_nothing_but_the_layout() -> None:
    network = build(get_network("efficientnet-b0"), seed=0).eval()
    randomise_norms(network, seed=0)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        last = network(images)
        assert network.features(images).is_contiguous(memory_format=torch.channels_last)
        first = network.set_memory_format(torch.contiguous_format)(images)
        assert network.features(images).is_contiguous()
    torch.testing.assert_close(first, last)


def test_training_step_reaches_every_parameter() -> None:
    spec = replace(get_network("efficientnet-b0"), resolution=square(32), classes=4, stochastic_depth_rate=0.0)
    network = build(spec, seed=0).train()
    functional.cross_entropy(network(torch.randn(4, 3, 32, 32)), torch.arange(4)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("padding", Padding)
def test_in_place_activations_do_not_leak_into_results(activation: Activation, padding: Padding) -> None:
    """Without gradients activations work in place; the answers must be those of the recorded graph."""
    spec = replace(get_network("resnet18"), activation=activation, padding=padding)
    network = build(spec, seed=0).eval()
    randomise_norms(network, seed=1)
    images = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        plain, maps = network(images.clone()), network.features_at(images.clone(), [0, 1, 2, 3])
    recorded = network.features_at(images, [0, 1, 2, 3])
    assert torch.equal(plain, network(images))
    assert all(torch.equal(a, b) for a, b in zip(maps, recorded, strict=True))
