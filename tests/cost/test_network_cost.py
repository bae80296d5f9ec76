"""Network costs against published figures, timm, the built module and torch's FLOP counter."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.strategies import network_specs
from triscale.arch import NetworkSpec, get_network, network_names
from triscale.arch.ops import output_shape
from triscale.cost import Cost, NetworkCost, OpCost, network_cost, op_cost
from triscale.models.network import Network, build

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "costs.json").read_text())["networks"]


@pytest.mark.parametrize("name", GOLDEN)
def test_equals_timm(name: str) -> None:
    spec = get_network(name)
    cost = network_cost(spec)
    assert {
        "resolution": spec.resolution.height,
        "params": cost.params,
        "macs": cost.macs,
        "activations": cost.activations,
        "buffers": cost.buffers,
    } == GOLDEN[name]


@pytest.mark.parametrize(
    ("name", "params", "with_statistics"),
    [
        # automl's efficientdet/backbone/efficientnet_builder_test.py; statistics: efficientnetv2/effnetv2_model_test.py
        ("efficientnet-b0", 5_288_548, 5_330_564),
        ("efficientnet-b1", 7_794_184, 7_856_232),
        ("efficientnet-b2", 9_109_994, 9_177_562),
        ("efficientnet-b3", 12_233_232, None),  # that test's B3 lacks the 90% rule
        ("efficientnet-b4", 19_341_616, 19_466_816),
        ("efficientnet-b5", 30_389_784, 30_562_520),
        ("efficientnet-b6", 43_040_704, 43_265_136),
        ("efficientnet-b7", 66_347_960, None),
        # tensorflow/tpu's efficientnet/lite/efficientnet_lite_builder_test.py
        ("efficientnet-lite0", 4_652_008, None),
        ("efficientnet-lite1", 5_416_680, None),
        ("efficientnet-lite2", 6_092_072, None),
        ("efficientnet-lite3", 8_197_096, None),
        ("efficientnet-lite4", 13_006_568, None),
    ],
)
def test_equals_the_authors_counts(name: str, params: int, with_statistics: int | None) -> None:
    cost = network_cost(get_network(name))
    assert cost.params == params
    assert with_statistics in (None, cost.params + cost.buffers)


def test_efficientnet_b0_without_head() -> None:
    spec = get_network("efficientnet-b0")
    features = replace(spec, stages=spec.stages[:-1], classes=0)
    assert network_cost(features).params == 3_595_388
    assert network_cost(replace(spec, classes=100)).params == 4_135_648


@pytest.mark.parametrize(
    ("name", "params_m", "macs_m"),
    [
        # Table 6 of the MobileNet paper.
        ("mobilenetv1", 4.2, 569),
        ("mobilenetv1-w0.75", 2.6, 325),
        ("mobilenetv1-w0.5", 1.3, 149),
        ("mobilenetv1-w0.25", 0.5, 41),
    ],
)
def test_mobilenet_widths(name: str, params_m: float, macs_m: int) -> None:
    cost = network_cost(get_network(name))
    assert round(cost.params / 1e6, 1) == params_m
    assert round(cost.macs / 1e6) == macs_m


def all_ops(cost: NetworkCost) -> dict[str, OpCost]:
    """Every op under the path of its module in the built network."""
    ops = {op.name: op for op in cost.head}
    for stage_number, stage in enumerate(cost.stages):
        for number, block in enumerate(stage.blocks):
            ops.update({f"stages.{stage_number}.{number}.{op.name}": op for op in block.ops})
    return ops


def flops_by_module(network: Network, images: torch.Tensor) -> dict[str, int]:
    """By torch's counter, under the module's path; the whole network under the empty path."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    counts = {path: sum(count.values()) for path, count in counter.get_flop_counts().items() if path != "Global"}
    return {path.removeprefix("Network").removeprefix("."): count for path, count in counts.items()}


def check_module(spec: NetworkSpec) -> None:
    with torch.device("meta"):
        network = build(spec).eval()
        images = torch.empty(1, spec.input_channels, *spec.resolution)
    cost = network_cost(spec)
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())
    assert cost.buffers == sum(buffer.numel() for buffer in network.buffers() if buffer.is_floating_point())
    flops = flops_by_module(network, images)
    assert 2 * cost.macs == flops.get("", 0)
    for path, op in all_ops(cost).items():
        module = network.get_submodule(path)
        assert op.cost.params == sum(parameter.numel() for parameter in module.parameters()), path
        assert 2 * op.cost.macs == flops.get(path, 0), path


@pytest.mark.parametrize("name", network_names())
def test_zoo_equals_built_network_and_flop_counter(name: str) -> None:
    check_module(get_network(name))


@settings(max_examples=50)
@given(network_specs())
def test_random_specs_equal_built_network_and_flop_counter(spec: NetworkSpec) -> None:
    check_module(spec)


@pytest.mark.slow
@settings(max_examples=1000)
@given(network_specs())
def test_many_random_specs_equal_built_network_and_flop_counter(spec: NetworkSpec) -> None:
    check_module(spec)


@settings(max_examples=25)
@given(network_specs())
def test_activations_are_outputs_of_convolutions_and_linear_layers(spec: NetworkSpec) -> None:
    with torch.device("meta"):
        network = build(spec).eval()
        images = torch.empty(1, spec.input_channels, *spec.resolution)
    sizes: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.numel()))
    network(images)
    assert network_cost(spec).activations == sum(sizes)


def check_detail(cost: NetworkCost) -> None:
    def add(costs: list[Cost]) -> Cost:
        return Cost(*map(sum, zip(*costs, strict=True)))

    for stage in cost.stages:
        assert len(stage.blocks) == stage.stage.layers
        assert stage.cost == add([block.cost for block in stage.blocks])
        for block in stage.blocks:
            assert block.cost == add([op.cost for op in block.ops])
    for op in all_ops(cost).values():
        assert op.cost == op_cost(op.op, op.in_shape)
        assert op.out_shape == output_shape(op.op, op.in_shape)
    total = add([*(stage.cost for stage in cost.stages), *(op.cost for op in cost.head)])
    assert total == Cost(cost.params, cost.macs, cost.activations, cost.buffers)


@pytest.mark.parametrize("name", network_names())
def test_zoo_detail_adds_up(name: str) -> None:
    check_detail(network_cost(get_network(name)))


@given(network_specs(max_pixels=300))
def test_detail_adds_up(spec: NetworkSpec) -> None:
    check_detail(network_cost(spec))


def test_projection_shortcuts_count() -> None:
    cost = network_cost(get_network("resnet50"))
    first = cost.stages[2].blocks[0]
    projection = next(op for op in first.ops if op.name == "shortcut.project_conv")
    # 64 to 256 channels on 56x56 pixels.
    assert projection.cost == Cost(params=64 * 256, macs=64 * 256 * 56 * 56, activations=256 * 56 * 56, buffers=0)
    assert not any(op.name.startswith("shortcut.") for op in cost.stages[2].blocks[1].ops)
