"""Shapes that ops make, and TensorFlow's padding, against tables, brute force and torch's modules."""

import pytest
import torch
from hypothesis import given, strategies as st

from triscale.arch import blocks, get_network
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
    output_resolution,
    output_shape,
    same_padding,
)
from triscale.arch.spec import Activation, Padding, Resolution
from triscale.models.layers import layer

# Inputs of the strided layers: stem, stages 2, 3, 4 and 6. Odd ones pad both sides alike, in the authors' networks.
STRIDED_INPUTS = {
    "efficientnet-b0": (224, 112, 56, 28, 14),
    "efficientnet-b1": (240, 120, 60, 30, 15),
    "efficientnet-b2": (260, 130, 65, 33, 17),
    "efficientnet-b3": (300, 150, 75, 38, 19),
    "efficientnet-b4": (380, 190, 95, 48, 24),
    "efficientnet-b5": (456, 228, 114, 57, 29),
    "efficientnet-b6": (528, 264, 132, 66, 33),
    "efficientnet-b7": (600, 300, 150, 75, 38),
}


@pytest.mark.parametrize("name", STRIDED_INPUTS)
def test_padding_of_published_networks(name: str) -> None:
    """Stride 2, kernel 3: (0, 1) on even inputs and (1, 1) on odd; kernel 5: (1, 2) and (2, 2)."""
    strided = [stage[0] for stage in blocks(get_network(name)) if stage[0].stride == 2]
    assert tuple(block.resolution.height for block in strided) == STRIDED_INPUTS[name]
    expected = {(3, 0): (0, 1), (3, 1): (1, 1), (5, 0): (1, 2), (5, 1): (2, 2)}
    for block in strided:
        size = block.resolution.height
        padding = same_padding(size, kernel=block.kernel, stride=block.stride)
        assert padding == expected[block.kernel, size % 2]


@given(st.integers(1, 200), st.sampled_from((1, 3, 5, 7, 9)), st.integers(1, 5))
def test_same_padding_is_the_least_that_reaches_every_pixel(size: int, kernel: int, stride: int) -> None:
    """As few zeros as let windows at every stride-th pixel fit, the odd one behind."""
    windows = len(range(0, size, stride))
    least = next(total for total in range(size + kernel) if (size + total - kernel) // stride + 1 >= windows)
    before, after = same_padding(size, kernel=kernel, stride=stride)
    assert before + after == least
    assert after - before in (0, 1)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kernel=st.sampled_from((1, 3, 5, 7)),
    stride=st.integers(1, 4),
    padding=st.sampled_from(Padding),
)
def test_strided_ops_give_a_pixel_for_every_stride(
    height: int, width: int, kernel: int, stride: int, padding: Padding
) -> None:
    """Both paddings give ceil(size / stride), as torch computes it."""
    expected = len(range(0, height, stride)), len(range(0, width, stride))
    for op in (Conv(2, 4, kernel, stride, padding=padding), MaxPool(kernel, stride, padding)):
        with torch.device("meta"):
            output = layer(op)(torch.empty(1, 2, height, width))
        assert tuple(output.shape[1:]) == output_shape(op, Shape(2, height, width))
        assert tuple(output.shape[2:]) == expected == output_resolution(Resolution(height, width), stride)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (Norm(6, 1e-3, 0.01), (6, 9, 5)),
        (Activate(Activation.SILU), (6, 9, 5)),
        (SqueezeExcite(6, 2, Activation.RELU), (6, 9, 5)),
        (Dropout(0.5), (6, 9, 5)),
        (GlobalPool(), (6, 1, 1)),
        (Linear(6, 10), (10, 1, 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_ops(op: Op, expected: tuple[int, int, int]) -> None:
    assert output_shape(op, Shape(6, 9, 5)) == expected


def test_shapes_are_refused_to_what_is_no_op() -> None:
    with pytest.raises(KeyError):
        output_shape("conv", Shape(1, 1, 1))  # type: ignore[arg-type]
