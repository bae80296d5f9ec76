"""Resolving channels, strides and sizes, and lowering to ops, against tables worked out by hand."""

import pytest
from hypothesis import given, settings

from tests.strategies import network_specs
from triscale.arch import NetworkSpec, blocks, get_network, lower, lower_head, square, stochastic_depth_rates
from triscale.arch.lowering import fold_norms
from triscale.arch.ops import Conv, Dropout, Linear, Norm, Shape, SqueezeExcite, output_shape, same_padding
from triscale.arch.rows import bottleneck, fused_mbconv, mbconv, separable

B0 = get_network("efficientnet-b0")


def test_b0_block_by_block() -> None:
    """Table 1 of the paper; squeeze-and-excitation has a quarter of the block's input channels."""
    first = [stage[0] for stage in blocks(B0)]
    assert [block.resolution.height for block in first] == [224, 112, 112, 56, 28, 14, 14, 7, 7]
    assert [block.in_channels for block in first] == [3, 32, 16, 24, 40, 80, 112, 192, 320]
    assert [block.inner_channels for block in first[1:-1]] == [32, 96, 144, 240, 480, 672, 1152]
    assert [block.squeezed_channels for block in first] == [0, 8, 4, 6, 10, 20, 28, 48, 0]
    assert [block.skip for stage in blocks(B0) for block in stage] == [
        *[False, False, False, True, False, True, False, True, True],
        *[False, True, True, False, True, True, True, False, False],
    ]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("efficientnet-b1", (240, 120, 60, 30, 15)),
        ("efficientnet-b2", (260, 130, 65, 33, 17)),
        ("efficientnet-b3", (300, 150, 75, 38, 19)),
        ("efficientnet-b5", (456, 228, 114, 57, 29)),
        ("efficientnet-b7", (600, 300, 150, 75, 38)),
    ],
)
def test_inputs_of_strided_layers(name: str, sizes: tuple[int, ...]) -> None:
    resolved = [stage[0] for stage in blocks(get_network(name))]
    assert tuple(block.resolution.height for block in resolved if block.stride == 2) == sizes


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        (224, 3, 2, (0, 1)),
        (56, 5, 2, (1, 2)),
        (65, 3, 2, (1, 1)),
        (15, 5, 2, (2, 2)),
        (7, 3, 1, (1, 1)),
        (9, 1, 2, (0, 0)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel=kernel, stride=stride) == padding


def test_stochastic_depth_counts_blocks_from_zero() -> None:
    rates = [rate for stage in stochastic_depth_rates(B0) for rate in stage]
    assert rates == pytest.approx([0, *(0.2 * index / 16 for index in range(16)), 0])
    assert max(rates) == pytest.approx(0.1875)


def op_names(spec: NetworkSpec, stage: int, layer: int = 0) -> list[str]:
    return [name for name, _ in lower(blocks(spec)[stage][layer]).branch]


def test_lowered_sequences() -> None:
    assert op_names(B0, 1) == [
        *["depthwise_conv", "depthwise_norm", "depthwise_activation"],
        *["squeeze_excite", "project_conv", "project_norm"],
    ]
    assert op_names(B0, 2)[:3] == ["expand_conv", "expand_norm", "expand_activation"]
    assert op_names(get_network("efficientnetv2-b0"), 1) == ["conv", "norm", "activation"]
    assert op_names(get_network("efficientnetv2-b0"), 2) == [
        *["expand_conv", "expand_norm", "expand_activation"],
        *["project_conv", "project_norm"],
    ]
    assert op_names(get_network("mobilenetv1"), 1)[-1] == "pointwise_activation"


def test_resnet_shortcuts_project_where_shapes_differ() -> None:
    spec = get_network("resnet50")
    first, second = (lower(block) for block in blocks(spec)[2][:2])
    assert first.shortcut is not None
    assert [name for name, _ in first.shortcut] == ["project_conv", "project_norm"]
    assert second.shortcut == ()
    assert [name for name, _ in second.after] == ["activation"]
    strided = dict(lower(blocks(spec)[3][0]).branch)
    assert [op.stride for op in strided.values() if isinstance(op, Conv)] == [1, 2, 1]


def test_edgetpu_expands_its_base_not_its_input() -> None:
    block = blocks(get_network("efficientnet-edgetpu-s"))[1][0]
    assert (block.in_channels, block.inner_channels) == (32, 96)


@pytest.mark.parametrize(
    "row", [mbconv(3, 1, 6, 8, 3), fused_mbconv(3, 1, 4, 8, 3), bottleneck(3, 1, 4, 8, 3), separable(3, 1, 8, 3)]
)
def test_equal_layers_are_equal_blocks(row: object) -> None:
    stage = blocks(NetworkSpec("x", square(8), stages=(row,)))[0]  # type: ignore[arg-type]
    assert stage[1] == stage[2]


@settings(max_examples=50, deadline=None)
@given(network_specs())
def test_shapes_run_through(spec: NetworkSpec) -> None:
    """Every op takes what the one before gives; every block gives what it says."""
    shape = Shape(spec.input_channels, *spec.resolution)
    for stage in blocks(spec):
        for block in stage:
            assert block.in_shape == shape
            lowered = lower(block)
            for ops in filter(None, (lowered.branch, lowered.shortcut)):
                values = shape
                for _, op in ops:
                    if isinstance(op, Conv):
                        assert op.in_channels == values.channels
                    if isinstance(op, Norm | SqueezeExcite):
                        assert op.channels == values.channels
                    values = output_shape(op, values)
                assert values == block.out_shape
            if lowered.shortcut == ():
                assert shape == block.out_shape
            shape = block.out_shape
    for _, op in lower_head(spec):
        shape = output_shape(op, shape)
    assert shape == Shape(spec.classes or spec.features, 1, 1)


@settings(max_examples=50, deadline=None)
@given(network_specs())
def test_folding_leaves_no_norm_and_no_convolution_without_bias(spec: NetworkSpec) -> None:
    for stage in blocks(spec):
        for block in stage:
            before = lower(block).branch
            after = fold_norms(before)
            assert not any(isinstance(op, Norm) for _, op in after)
            assert all(op.bias for _, op in after if isinstance(op, Conv))
            kept = [name for name, op in before if not isinstance(op, Norm)]
            assert [name for name, _ in after] == kept
    assert not any(isinstance(op, Dropout) for _, op in fold_norms(lower_head(spec)))


def test_head() -> None:
    assert [name for name, _ in lower_head(B0)] == ["pool", "dropout", "classifier"]
    assert dict(lower_head(B0))["classifier"] == Linear(1280, 1000)
