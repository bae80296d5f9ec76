"""The loss against TensorFlow's, and which weights decay against the architecture."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.golden.waves import wave
from triscale.arch import get_network
from triscale.models.network import build
from triscale.train.loss import decayed_parameters, smoothed_cross_entropy

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "tensorflow_training.json").read_text(encoding="utf-8"))
LABELS = torch.tensor([0, 6, 3, 3])
ONE_HOT = torch.eye(7, dtype=torch.float64)[LABELS]
TARGETS = {"hard": LABELS, "mixed": 0.3 * ONE_HOT + 0.7 * ONE_HOT.flip(0)}


@pytest.mark.parametrize("name", TARGETS)
def test_equals_tensorflow(name: str) -> None:
    golden = GOLDEN["loss"][name]
    logits = torch.from_numpy(3 * wave((4, 7), phase=1)).requires_grad_()
    loss = smoothed_cross_entropy(logits, TARGETS[name], smoothing=0.1)
    loss.backward()
    assert logits.grad is not None
    # TensorFlow averages the images' losses in single precision.
    np.testing.assert_allclose(loss.item(), golden["loss"], rtol=2e-7)
    np.testing.assert_allclose(logits.grad.numpy(), golden["slopes"], rtol=2e-7, atol=1e-9)


def test_equals_the_formula_image_by_image() -> None:
    logits = torch.from_numpy(3 * wave((4, 7), phase=1))
    smooth = ONE_HOT * 0.8 + 0.2 / 7
    expected = -(smooth * (logits.exp() / logits.exp().sum(1, keepdim=True)).log()).sum(1)
    for targets in (LABELS, ONE_HOT):
        each = smoothed_cross_entropy(logits, targets, smoothing=0.2, reduction="none")
        torch.testing.assert_close(each, expected, rtol=1e-12, atol=0)
        total = smoothed_cross_entropy(logits, targets, smoothing=0.2, reduction="sum")
        torch.testing.assert_close(total, expected.sum(), rtol=1e-12, atol=0)


def is_classifier_or_squeeze_bias(name: str) -> bool:
    return name.endswith("bias") and ("squeeze_excite" in name or name.startswith("classifier"))


@pytest.mark.parametrize(("biases", "count"), [(True, 82 + 33), (False, 82)])
def test_batch_norm_and_if_asked_biases_do_not_decay(biases: bool, count: int) -> None:
    with torch.device("meta"):
        network = build(get_network("efficientnet-b0"))
    names = {parameter: name for name, parameter in network.named_parameters()}
    split = decayed_parameters(network, biases=biases)
    expected = [
        name
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 or (biases and is_classifier_or_squeeze_bias(name))
    ]
    assert [names[parameter] for parameter in split.decayed] == expected
    assert len(split.decayed) == count
    assert sorted(names[x] for x in (*split.decayed, *split.others)) == sorted(names.values())


class Odd(nn.Module):
    """A scale outside any norm layer, norm layers by other names, one weight shared and one frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.first = nn.BatchNorm1d(2)
        self.second = nn.GroupNorm(1, 2)
        self.left = nn.Linear(2, 2)
        self.right = nn.Linear(2, 2)
        self.right.weight = self.left.weight
        self.right.bias.requires_grad_(False)

    def names(self, parameters: list[nn.Parameter]) -> list[str]:
        own: dict[Tensor, str] = {parameter: name for name, parameter in self.named_parameters()}
        return [own[parameter] for parameter in parameters]


@pytest.mark.parametrize(
    ("biases", "norms", "expected"),
    [
        (False, False, ["scale", "left.weight"]),
        (True, False, ["scale", "left.weight", "left.bias"]),
        (False, True, ["scale", "first.weight", "first.bias", "second.weight", "second.bias", "left.weight"]),
    ],
)
def test_layers_are_told_by_what_they_are(biases: bool, norms: bool, expected: list[str]) -> None:
    network = Odd()
    split = decayed_parameters(network, biases=biases, norms=norms)
    assert network.names(split.decayed) == expected
    trained = {"scale", "left.weight", "left.bias", "first.weight", "first.bias", "second.weight", "second.bias"}
    assert set(network.names(split.others)) == trained - set(expected)
