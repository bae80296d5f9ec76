"""The average against TensorFlow's, its own recurrence, and the network it was made from."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.golden.waves import wave
from triscale.train.ema import ExponentialMovingAverage, ema_decay

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "tensorflow_training.json").read_text(encoding="utf-8"))


class Weight(nn.Module):
    """One weight."""

    def __init__(self, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(values).float())


def test_equals_tensorflow() -> None:
    golden = GOLDEN["average"]
    network = Weight(wave((3,), phase=0))
    average = ExponentialMovingAverage(network, decay=golden["decay"])
    for count, shadow in zip(golden["counts"], golden["shadows"], strict=True):
        with torch.no_grad():
            network.weight.copy_(torch.from_numpy(wave((3,), phase=count % 50)))
        average.update(network, step=count)
        np.testing.assert_allclose(average.tensors["weight"].numpy(), shadow, rtol=3e-7, atol=1e-7)


def test_decay_climbs_to_its_limit() -> None:
    assert [ema_decay(step) for step in (0, 8, 890)] == [0.1, 0.5, 0.99]
    assert ema_decay(89_981) < 0.9999
    assert ema_decay(89_990) == ema_decay(10**9) == 0.9999
    assert ema_decay(10**9, decay=0.0) == 0


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    network = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    network[2].bias.requires_grad_(False)
    return network


def train(network: nn.Module, *, steps: int) -> Iterator[int]:
    """Change weights and statistics `steps` times."""
    for step in range(steps):
        torch.manual_seed(step)
        network(torch.randn(2, 3, 5, 5))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        yield step


AVERAGED = {
    *("0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "3.weight", "3.bias"),
    *("1.running_mean", "1.running_var"),
}


def test_averages_what_trains_and_the_statistics_by_the_recurrence() -> None:
    network = convolutional()
    average = ExponentialMovingAverage(network, decay=0.6)
    expected = {name: tensor.double() for name, tensor in network.state_dict().items() if name in AVERAGED}
    for step in train(network, steps=20):
        average.update(network, step=step)
        decay = min(0.6, (1 + step) / (10 + step))
        now = network.state_dict()
        expected = {name: decay * tensor + (1 - decay) * now[name].double() for name, tensor in expected.items()}
    assert set(average.tensors) == AVERAGED
    for name, tensor in average.tensors.items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)
        assert tensor.stride() == network.state_dict()[name].stride()


def test_network_itself_is_left_alone() -> None:
    watched, alone = convolutional(), convolutional()
    average = ExponentialMovingAverage(watched)
    for step in train(watched, steps=3):
        average.update(watched, step=step)
    assert list(train(alone, steps=3)) == [0, 1, 2]
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, watched.state_dict()[name])


def test_restarted_equals_never_stopped_to_the_bit() -> None:
    network = convolutional()
    whole = ExponentialMovingAverage(network)
    half = ExponentialMovingAverage(network)
    for step in train(network, steps=8):
        if step == 4:
            saved = {name: tensor.clone() for name, tensor in half.tensors.items()}
            half = ExponentialMovingAverage(network)
            half.load(saved)
        whole.update(network, step=step)
        half.update(network, step=step)
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, half.tensors[name])


def test_no_decay_is_the_network_itself() -> None:
    network = convolutional()
    average = ExponentialMovingAverage(network, decay=0)
    for step in train(network, steps=3):
        average.update(network, step=step)
        for name, tensor in average.tensors.items():
            assert torch.equal(tensor, network.state_dict()[name])


def test_half_precision_weights_are_averaged_in_single() -> None:
    network = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    average = ExponentialMovingAverage(network)
    before = network.weight.item()
    with torch.no_grad():
        network.weight.add_(1)
    average.update(network, step=10**6)
    moved = average.tensors["weight"].item() - before
    assert moved == pytest.approx(1e-4 * (network.weight.item() - before), rel=1e-2)


def test_other_networks_average_is_refused() -> None:
    average = ExponentialMovingAverage(convolutional())
    tensors = dict(average.tensors)
    with pytest.raises(ValueError, match="another network's"):
        average.load({**tensors, "0.weight": torch.zeros(1)})
    del tensors["0.weight"]
    with pytest.raises(ValueError, match="another network's"):
        average.load(tensors)


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_senseless_decay_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"decay must lie in 0\.\.1"):
        ExponentialMovingAverage(convolutional(), decay=decay)
