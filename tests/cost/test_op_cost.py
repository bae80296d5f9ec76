"""Every op's cost against the module that computes it, and against numbers worked out by hand."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from triscale.arch.ops import (
    Activate,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    MaxPool,
    Norm,
    Op,
    Shape,
    SqueezeExcite,
)
from triscale.arch.spec import Activation, Padding
from triscale.cost import Cost, op_cost
from triscale.models.layers import layer

SHAPE = Shape(12, 15, 10)

OPS = (
    Conv(12, 20),
    Conv(12, 20, kernel=3, stride=2, padding=Padding.SAME),
    Conv(12, 20, kernel=5, stride=3, bias=True),
    Conv(12, 12, kernel=7, stride=2, groups=12),
    Conv(12, 8, kernel=3, groups=4, bias=True),
    Norm(12, 1e-3, 0.01),
    Activate(Activation.RELU6),
    SqueezeExcite(12, 3, Activation.SILU),
    MaxPool(3, 2, Padding.SAME),
    GlobalPool(),
    Dropout(0.2),
)


@pytest.mark.parametrize(("op", "shape"), [*((op, SHAPE) for op in OPS), (Linear(12, 7), Shape(12, 1, 1))], ids=str)
def test_equals_module(op: Op, shape: Shape) -> None:
    with torch.device("meta"):
        module = layer(op).eval()
        images = torch.empty(1, 12) if isinstance(op, Linear) else torch.empty(1, *shape)
    activations = 0

    def add_output(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    for child in module.modules():
        if isinstance(child, nn.Conv2d | nn.Linear):
            child.register_forward_hook(add_output)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images)
    assert op_cost(op, shape) == Cost(
        params=sum(parameter.numel() for parameter in module.parameters()),
        macs=counter.get_total_flops() // 2,
        activations=activations,
        buffers=sum(buffer.numel() for buffer in module.buffers() if buffer.is_floating_point()),
    )


@pytest.mark.parametrize(
    ("op", "shape", "expected"),
    [
        # 3x3x3 weights for each of 32 outputs, on 112x112 pixels: EfficientNet-B0's stem.
        (
            Conv(3, 32, kernel=3, stride=2),
            Shape(3, 224, 224),
            Cost(params=864, macs=864 * 112 * 112, activations=32 * 112 * 112, buffers=0),
        ),
        # B0's last classifier: 1280x1000 weights and 1000 biases.
        (
            Linear(1280, 1000),
            Shape(1280, 1, 1),
            Cost(params=1_281_000, macs=1_280_000, activations=1000, buffers=0),
        ),
        # B0's first squeeze-and-excitation: 32 to 8 to 32 with biases, whatever the map's size.
        (
            SqueezeExcite(32, 8, Activation.SILU),
            Shape(32, 112, 112),
            Cost(params=2 * 32 * 8 + 8 + 32, macs=2 * 32 * 8, activations=40, buffers=0),
        ),
        (Norm(32, 1e-3, 0.01), Shape(32, 7, 7), Cost(params=64, macs=0, activations=0, buffers=64)),
    ],
    ids=("conv", "linear", "squeeze_excite", "norm"),
)
def test_by_hand(op: Op, shape: Shape, expected: Cost) -> None:
    assert op_cost(op, shape) == expected


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(KeyError):
        op_cost(object(), SHAPE)  # type: ignore[arg-type]
