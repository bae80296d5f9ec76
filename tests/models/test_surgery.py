"""Other class counts and other channel counts, from trained weights."""

import logging

import pytest
import torch

from tests.randomise import randomise_norms
from triscale.arch import NetworkSpec, Preprocessing, get_network, square
from triscale.arch.rows import mbconv
from triscale.models.card import ModelCard
from triscale.models.files import Model
from triscale.models.network import build
from triscale.models.surgery import adapt, adapt_input_channels

CARD = ModelCard(Preprocessing(square(32)), class_names=tuple(f"class {n}" for n in range(1000)))


def test_one_channel_answers_as_grey_in_all_channels() -> None:
    network = build(get_network("resnet18"), seed=0).eval()
    randomise_norms(network, seed=0)
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        expected = network(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(adapt_input_channels(network, 1)(grey), expected)


@pytest.mark.parametrize("channels", [2, 4, 6, 13])
def test_constant_images_keep_their_response(channels: int) -> None:
    network = build(get_network("resnet18"), seed=0).eval()
    adapted = adapt_input_channels(network, channels)
    assert adapted.spec.input_channels == channels
    # Summed over the kernel and its inputs, channel 0 repeats as often as the others only in multiples of three.
    weight, old = adapted.stages[0][0].branch.conv.weight, network.stages[0][0].branch.conv.weight
    for index in range(channels):
        torch.testing.assert_close(weight[:, index], old[:, index % 3] * 3 / channels)
    if channels % 3 == 0:
        torch.testing.assert_close(weight.sum(1), old.sum(1))
    assert adapted(torch.zeros(1, channels, 32, 32)).shape == (1, 1000)


def test_from_many_channels_back_to_three() -> None:
    network = adapt_input_channels(build(get_network("resnet18"), seed=0).eval(), 6)
    original = build(get_network("resnet18"), seed=0)
    back = adapt_input_channels(network, 3)
    torch.testing.assert_close(back.stages[0][0].branch.conv.weight, original.stages[0][0].branch.conv.weight)


def test_adapt_says_what_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    network = build(get_network("mobilenetv1-w0.25"), seed=0).eval()
    with caplog.at_level(logging.WARNING):
        adapted, card = adapt(Model(network, CARD), classes=5, input_channels=1, seed=0)
    assert adapted.spec.classes == 5
    assert adapted.spec.input_channels == 1
    assert card.class_names == ()
    assert card.preprocessing.mean == pytest.approx((0.449,))
    assert "from 3 to 1 input channels" in caplog.text
    assert "1000 classes to 5" in caplog.text


def test_adapt_to_what_is_there_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    network = build(get_network("mobilenetv1-w0.25"), seed=0).eval()
    assert adapt(Model(network, CARD), classes=1000, input_channels=3) == (network, CARD)
    assert caplog.text == ""


def test_a_depthwise_first_layer_is_refused() -> None:
    network = build(NetworkSpec("odd", square(8), stages=(mbconv(3, 1, 1, 8, 1),)), seed=0)
    with pytest.raises(ValueError, match="odd begins with mbconv; only a plain convolution can be adapted"):
        adapt_input_channels(network, 5)
