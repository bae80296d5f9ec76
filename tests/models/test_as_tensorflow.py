"""Padding and batch norm against what TensorFlow computes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.golden.waves import wave
from triscale.arch.ops import Conv, MaxPool, Norm
from triscale.arch.spec import Padding
from triscale.models.layers import layer

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "tensorflow_training.json").read_text(encoding="utf-8"))


def images_of(shape: tuple[int, int, int, int], *, phase: float) -> Tensor:
    """TensorFlow's (N, H, W, C) as (N, C, H, W)."""
    return torch.from_numpy(wave(shape, phase=phase)).permute(0, 3, 1, 2)


def operator(name: str, *, kernel: int, stride: int) -> nn.Module:
    """The layer with the weights that the golden figures were made with."""
    weights = torch.from_numpy(wave((kernel, kernel, 2, 2), phase=kernel))
    if name == "max_pool":
        return layer(MaxPool(kernel, stride, Padding.SAME))
    depthwise = name == "depthwise"
    conv = layer(Conv(2, 2, kernel, stride, groups=2 if depthwise else 1, padding=Padding.SAME)).double()
    assert isinstance(conv, nn.Conv2d)
    conv.weight.data = (weights[:, :, :1] if depthwise else weights).permute(3, 2, 0, 1)
    return conv


@pytest.mark.parametrize("golden", GOLDEN["padding"], ids=lambda x: f"{x['operator']}-k{x['kernel']}-s{x['stride']}")
def test_same_padding_equals_tensorflow(golden: dict[str, Any]) -> None:
    module = operator(golden["operator"], kernel=golden["kernel"], stride=golden["stride"])
    assert len(golden["fingerprints"]) == 36
    for height, *fingerprint in golden["fingerprints"]:
        with torch.no_grad():
            output = module(images_of((1, height, height + 3, 2), phase=height)).permute(0, 2, 3, 1).numpy()
        found = [*output.shape[1:3], (output * wave(output.shape, phase=3)).sum(), *output[0, 0, 0], *output[0, -1, -1]]
        np.testing.assert_allclose(found, fingerprint, rtol=1e-10, atol=1e-10)


def test_batch_norm_equals_tensorflow_but_for_the_variances_bias() -> None:
    golden = GOLDEN["batch_norm"]
    norm = layer(Norm(2, 1e-3, 0.01)).double()
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(wave((2,), phase=4)))
        norm.bias.copy_(torch.from_numpy(wave((2,), phase=5)))
    images = 2 * images_of((3, 4, 5, 2), phase=2) + 1
    trained = norm(images).detach().permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(trained.ravel(), golden["trained"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(norm.running_mean, golden["running_mean"], rtol=1e-10)
    # The layer that the authors used keeps the variance over n values, torch and TensorFlow's fused operator
    # that over n - 1: 0.06% more for 32 maps of 7 x 7, and nothing in training looks at it.
    values = 3 * 4 * 5
    variance = (np.asarray(golden["running_variance"]) - 0.99) / 0.01
    np.testing.assert_allclose(golden["fused_batch_variance"], variance * values / (values - 1), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, 0.99 + 0.01 * variance * values / (values - 1), rtol=1e-10)
    with torch.no_grad():
        norm.running_var.copy_(torch.tensor(golden["running_variance"], dtype=torch.float64))
        judged = norm.eval()(images).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(judged.ravel(), golden["judged"], rtol=1e-10, atol=1e-10)
