"""Grad-CAM against gradients taken by hand, and against class activation maps."""

import sys

import pytest
import torch
from torch import Tensor, nn

from tests.peers import import_timm
from tests.randomise import randomise_norms
from triscale.arch import get_network
from triscale.explain.cam import class_activation_maps
from triscale.explain.grad_cam import grad_cam_maps, last_block
from triscale.models import build, fold_batch_norms

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def network_of(name: str):
    network = build(get_network(name), seed=0)
    randomise_norms(network, seed=2)
    return network.eval()


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-lite0", "resnet18"])
@pytest.mark.parametrize("folded", [False, True])
def test_of_a_pooled_linear_head_it_is_the_class_activation_map(name: str, folded: bool) -> None:
    network = network_of(name).double()
    network = fold_batch_norms(network) if folded else network
    images = IMAGES.double()
    cam = class_activation_maps(network, images)
    found = grad_cam_maps(network, last_block(network), images)
    torch.testing.assert_close(found.logits, cam.logits)
    assert torch.equal(found.classes, cam.classes)
    torch.testing.assert_close(found.maps * found.maps[0].numel(), cam.maps, rtol=1e-9, atol=1e-12)
    assert all(parameter.grad is None for parameter in network.parameters())


class TwoLayerHead(nn.Module):
    """A network that no class activation map exists for."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.SiLU(), nn.Conv2d(6, 8, 3, 2))
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.Tanh(), nn.Linear(16, 5))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


def test_gradients_taken_by_hand_give_the_same() -> None:
    torch.manual_seed(0)
    network = TwoLayerHead().double().eval()
    images = IMAGES.double()
    network(images)
    found = grad_cam_maps(network, network.body, images, [1, 4])
    features = network.body(images)
    logits = network.head(features)
    (gradient,) = torch.autograd.grad(logits[0, 1] + logits[1, 4], features)
    by_hand = (gradient.mean((2, 3), keepdim=True) * features).sum(1)
    torch.testing.assert_close(found.maps, by_hand.detach())
    assert found.maps.shape == (2, 15, 23)


def test_a_timm_network_with_attention_pooling_has_maps() -> None:
    timm = import_timm()
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=4).eval()
    with pytest.raises(ValueError, match="no feature map"):
        grad_cam_maps(network, network.norm, torch.randn(1, 3, 160, 160))
    found = grad_cam_maps(network, network.patch_embed.proj, torch.randn(1, 3, 160, 160), 3)
    assert found.maps.shape == (1, 10, 10)
    assert found.maps.std() > 0


def test_it_works_where_gradients_are_off() -> None:
    network = network_of("efficientnet-lite0")
    expected = grad_cam_maps(network, last_block(network), IMAGES).maps
    with torch.no_grad():
        assert torch.equal(grad_cam_maps(network, last_block(network), IMAGES).maps, expected)
    with torch.inference_mode():
        made_here = IMAGES * 1
        assert torch.equal(grad_cam_maps(network, last_block(network), made_here).maps, expected)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(grad_cam_maps(network, last_block(network), IMAGES).maps, expected)


def test_mistakes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("efficientnet-lite0")
    with pytest.raises(ValueError, match="there is no class 1000"):
        grad_cam_maps(network, last_block(network), IMAGES, 1000)
    with pytest.raises(ValueError, match="training mode"):
        grad_cam_maps(network.train(), last_block(network), IMAGES)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ValueError, match=r"pip install 'triscale\[explain\]'"):
        grad_cam_maps(network.eval(), last_block(network), IMAGES)
