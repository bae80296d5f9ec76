"""Class activation maps against the network's own logits, and against one position at a time."""

from dataclasses import replace

import pytest
import torch

from tests.randomise import randomise_norms
from triscale.arch import get_network, network_names
from triscale.explain.cam import class_activation_maps
from triscale.models import Network, fold_batch_norms
from triscale.models.network import assemble

IMAGES = torch.randn(2, 3, 40, 72, generator=torch.Generator().manual_seed(1))
CLASSES = [3, 7]


def fill(network: Network) -> None:
    """Random weights of a common size for each layer, from one pattern: drawing a large network's takes a minute."""
    pattern = torch.randn(65_537, generator=torch.Generator().manual_seed(0))
    for parameter in network.parameters():
        values = pattern.repeat(-(-parameter.numel() // len(pattern)))[: parameter.numel()].view(parameter.shape)
        parameter.copy_(values if parameter.ndim == 1 else values * (2 / parameter[0].numel()) ** 0.5)


def network_of(name: str) -> Network:
    """A network of ten classes, all of whose weights and statistics are random."""
    network = assemble(replace(get_network(name), classes=10))
    with torch.no_grad():
        fill(network)
    randomise_norms(network, seed=2)
    return network.eval()


def assert_identity(network: Network, tolerance: float) -> None:
    """A map's mean plus the bias is the logit, to `tolerance` of the sum of the terms' magnitudes."""
    images = IMAGES.to(network.get_classifier().weight.dtype)
    found = class_activation_maps(network, images, CLASSES)
    assert found.classes.tolist() == CLASSES
    classifier = network.get_classifier()
    with torch.no_grad():
        features = network.features(images)
        logits = network.head(features)
        magnitude = (features.abs().mean((2, 3)) * classifier.weight[CLASSES].abs()).sum(
            1
        ) + classifier.bias.abs().max()
        means = found.maps.mean((1, 2)) + classifier.bias[CLASSES]
    torch.testing.assert_close(found.logits, logits)
    assert found.maps.shape == (2, *features.shape[2:])
    assert ((means - logits[[0, 1], CLASSES]).abs() <= tolerance * magnitude).all()
    assert logits.std(0).min() > 0  # both images are looked at, not one constant


LARGEST = pytest.param("efficientnet-l2", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [*(name for name in network_names() if name != "efficientnet-l2"), LARGEST])
def test_mean_and_bias_give_the_logit(name: str) -> None:
    assert_identity(network_of(name), 1e-6)


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-lite0", "efficientnetv2-b0", "resnet50"])
def test_the_identity_is_exact_in_float64_and_for_folded_networks(name: str) -> None:
    network = network_of(name).double()
    assert_identity(network, 1e-14)
    assert_identity(fold_batch_norms(network), 1e-14)
    assert_identity(fold_batch_norms(network.float()), 1e-6)


def test_a_cell_is_what_the_classifier_says_of_it_alone() -> None:
    network = network_of("efficientnet-lite0").double()
    images = IMAGES.double()
    found = class_activation_maps(network, images)
    with torch.no_grad():
        features = network.features(images)
        for row in range(features.shape[2]):
            for column in range(features.shape[3]):
                alone = network.head(features[:, :, row : row + 1, column : column + 1])
                expected = (alone - network.get_classifier().bias)[torch.arange(2), found.classes]
                torch.testing.assert_close(found.maps[:, row, column], expected)


def test_the_predicted_class_is_the_default_and_one_class_counts_for_all() -> None:
    network = network_of("efficientnet-lite0")
    found = class_activation_maps(network, IMAGES)
    assert torch.equal(found.classes, found.logits.argmax(1))
    assert torch.equal(class_activation_maps(network, IMAGES, found.classes).maps, found.maps)
    assert class_activation_maps(network, IMAGES, 4).classes.tolist() == [4, 4]
    assert not found.maps.requires_grad


def test_what_cannot_be_explained_is_refused() -> None:
    network = network_of("efficientnet-lite0")
    with pytest.raises(ValueError, match=r"there is no class 10; the network has classes 0\.\.9"):
        class_activation_maps(network, IMAGES, 10)
    with pytest.raises(ValueError, match="there is no class -1"):
        class_activation_maps(network, IMAGES, [0, -1])
    with pytest.raises(ValueError, match=r"2 images need one class or 2, got \(3,\)"):
        class_activation_maps(network, IMAGES, [0, 1, 2])
    with pytest.raises(ValueError, match=r"training mode; call network\.eval"):
        class_activation_maps(network.train(), IMAGES)
    network.reset_classifier(0)
    with pytest.raises(ValueError, match="efficientnet-lite0 has no classes to explain"):
        class_activation_maps(network.eval(), IMAGES)
