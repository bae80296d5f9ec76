"""`triscale describe`: one network's stage table, what it costs, and where its coefficients come from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from triscale.arch import NetworkSpec, Operator, Resolution, Stage
from triscale.cli.network import NET_HELP, find_network
from triscale.cli.options import json_option, option, positional
from triscale.cli.output import print_json, print_pairs, print_table, table
from triscale.cli.published import as_json, compare, print_comparison
from triscale.cost import inference_memory, network_cost, training_memory
from triscale.cost.network_cost import BlockCost, NetworkCost, OpCost
from triscale.scaling.quantities import Unit, format_quantity

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLE = """triscale describe efficientnet-b0
triscale describe efficientnet-b7 --json
triscale describe resnet50 --resolution 320x480 --classes 10 --blocks"""

_LABELS = {
    Operator.CONV: "Conv{kernel}x{kernel}",
    Operator.MBCONV: "MBConv{expansion}, k{kernel}x{kernel}",
    Operator.FUSED_MBCONV: "Fused-MBConv{expansion}, k{kernel}x{kernel}",
    Operator.DEPTHWISE_SEPARABLE: "Separable, k{kernel}x{kernel}",
    Operator.BASIC: "Basic, k{kernel}x{kernel}",
    Operator.BOTTLENECK: "Bottleneck, k{kernel}x{kernel}",
    Operator.MAX_POOL: "MaxPool{kernel}x{kernel}",
}
"""As the papers' tables print them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One network's stage table, what it costs, and where its coefficients come from.

    The table reads like Table 1 of the EfficientNet paper: a stage's resolution is that of its input. Params and
    multiply-adds (macs) are exact, memory is an estimate.
    """

    network: str = positional("NET", NET_HELP)
    resolution: Resolution | None = option("images of this size", metavar="HxW")
    classes: int | None = option("outputs of the classifier, 0 for none", metavar="N")
    input_channels: int | None = option("channels of the images", metavar="N")
    batch_size: int = option("images of the training step whose memory is told (32)", metavar="N", default=32)
    blocks: bool = option("one row a layer", default=False)
    ops: bool = option("one row an operation", default=False)
    json: bool = json_option()


def edited(spec: NetworkSpec, options: Options) -> NetworkSpec:
    """`spec` with the resolution, classes and input channels that were asked for."""
    wanted = {name: getattr(options, name) for name in ("resolution", "classes", "input_channels")}
    return replace(spec, **{name: value for name, value in wanted.items() if value is not None})


def operator_label(stage: Stage) -> str:
    """A stage's operator as the papers print it: "MBConv6, k5x5"."""
    return _LABELS[stage.operator].format(kernel=stage.kernel, expansion=stage.expansion)


def _counts(cost: Any) -> dict[str, int]:
    return {"params": cost.params, "macs": cost.macs, "activations": cost.activations}


def _op_json(op: OpCost) -> dict[str, Any]:
    return {"name": op.name, "operation": type(op.op).__name__, "output": list(op.out_shape), **_counts(op.cost)}


def _block_json(block: BlockCost, *, ops: bool) -> dict[str, Any]:
    data = {
        "input": list(block.block.in_shape),
        "output": list(block.block.out_shape),
        "stride": block.block.stride,
        "inner_channels": block.block.inner_channels,
        "squeezed_channels": block.block.squeezed_channels,
        "skip": block.block.skip,
        **_counts(block.cost),
    }
    return {**data, "ops": [_op_json(op) for op in block.ops]} if ops else data


def _stages_json(cost: NetworkCost, options: Options) -> Iterator[dict[str, Any]]:
    for number, stage in enumerate(cost.stages, 1):
        row = stage.stage
        data: dict[str, Any] = {
            "stage": number,
            "operator": row.operator.value,
            "kernel": row.kernel,
            "stride": row.stride,
            "expansion": row.expansion,
            "se_ratio": row.se_ratio,
            "resolution": list(stage.blocks[0].block.resolution),
            "channels": row.channels,
            "layers": row.layers,
            **_counts(stage.cost),
        }
        if options.blocks or options.ops:
            data["blocks"] = [_block_json(block, ops=options.ops) for block in stage.blocks]
        yield data


def description(spec: NetworkSpec, options: Options) -> dict[str, Any]:
    """What `--json` prints."""
    cost = network_cost(spec)
    comparison = compare(spec)
    return {
        "name": spec.name,
        **_counts(cost),
        "resolution": list(spec.resolution),
        "classes": spec.classes,
        "input_channels": spec.input_channels,
        "inference_memory_bytes": inference_memory(spec).total_bytes,
        "training_memory_bytes": training_memory(spec, batch_size=options.batch_size).total_bytes,
        "batch_size": options.batch_size,
        "stages": list(_stages_json(cost, options)),
        "head": [_op_json(op) for op in cost.head],
        "published": comparison and as_json(comparison),
    }


def _count(count: int) -> str:
    return format_quantity(count) if count else ""


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width}x{channels}"


def _head_rows(cost: NetworkCost) -> tuple[str, int, int]:
    """Label, params and macs of what follows the stages."""
    label = "Pooling & FC" if cost.spec.classes else "Pooling"
    return label, sum(op.cost.params for op in cost.head), sum(op.cost.macs for op in cost.head)


def _stage_table(cost: NetworkCost) -> "Table":
    made = table("stage", "operator", "resolution", "channels", "layers", "params", "macs", left=2)
    for number, stage in enumerate(cost.stages, 1):
        row = stage.stage
        resolution = stage.blocks[0].block.resolution
        figures = (row.channels, row.layers, _count(stage.cost.params), _count(stage.cost.macs))
        made.add_row(str(number), operator_label(row), str(resolution), *map(str, figures))
    label, params, macs = _head_rows(cost)
    shape = cost.stages[-1].blocks[-1].block.out_shape
    channels = cost.spec.classes or cost.spec.features
    last = str(len(cost.stages) + 1)
    made.add_row(last, label, f"{shape.height}x{shape.width}", str(channels), "1", _count(params), _count(macs))
    return made


def _block_table(cost: NetworkCost) -> "Table":
    made = table("layer", "operator", "input", "output", "params", "macs", left=2)
    for number, stage in enumerate(cost.stages, 1):
        for layer, block in enumerate(stage.blocks, 1):
            sizes = (_size(block.block.in_shape), _size(block.block.out_shape))
            figures = (_count(block.cost.params), _count(block.cost.macs))
            made.add_row(f"{number}.{layer}", operator_label(stage.stage), *sizes, *figures)
    label, params, macs = _head_rows(cost)
    first, last = cost.head[0], cost.head[-1]
    made.add_row("head", label, _size(first.in_shape), _size(last.out_shape), _count(params), _count(macs))
    return made


def _op_table(cost: NetworkCost) -> "Table":
    """Module paths as in the state dict, whose stages and layers count from 0."""
    made = table("module", "output", "params", "macs")
    for number, stage in enumerate(cost.stages):
        for layer, block in enumerate(stage.blocks):
            for op in block.ops:
                _add_op(made, f"stages.{number}.{layer}.{op.name}", op)
    for op in cost.head:
        _add_op(made, op.name, op)
    return made


def _add_op(made: "Table", name: str, op: OpCost) -> None:
    figures = (_count(op.cost.params), _count(op.cost.macs))
    made.add_row(name, _size(op.out_shape), *figures)


def _stage_numbers(numbers: list[int], of: int) -> str:
    """Such as "stages 2-8"; "every stage" where all `of` them are meant."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"stage{'s' if len(numbers) > 1 else ''} " + ", ".join(texts) if len(numbers) < of else "every stage"


def _details(spec: NetworkSpec) -> str:
    """What the stage table leaves out."""
    parts = [f"{spec.activation} activation", f"{spec.padding} padding"]
    for ratio in sorted({stage.se_ratio for stage in spec.stages} - {0.0}):
        numbers = [number for number, stage in enumerate(spec.stages, 1) if stage.se_ratio == ratio]
        parts.append(f"SE ratio {ratio:g} in {_stage_numbers(numbers, of=len(spec.stages))}")
    if spec.input_channels != 3:
        parts.append(f"{spec.input_channels} input channels")
    if spec.dropout:
        parts.append(f"dropout {spec.dropout:g}")
    if spec.stochastic_depth_rate:
        parts.append(f"stochastic depth {spec.stochastic_depth_rate:g}")
    return ", ".join(parts)


def _totals(cost: NetworkCost, *, batch_size: int) -> Iterator[tuple[str, str]]:
    spec = cost.spec
    inference = format_quantity(inference_memory(spec).total_bytes, Unit.BYTES)
    training = format_quantity(training_memory(spec, batch_size=batch_size).total_bytes, Unit.BYTES)
    images = "1 image" if batch_size == 1 else f"{batch_size} images"
    yield "params", f"{cost.params:,}"
    yield "macs", f"{cost.macs:,}"
    yield "activations", f"{cost.activations:,}"
    yield "memory", f"about {inference} to infer 1 image, {training} to train on {images}"
    yield "details", _details(spec)


def print_description(spec: NetworkSpec, options: Options) -> None:
    """The table, the totals and, for published networks, where their coefficients come from."""
    cost = network_cost(spec)
    totals = list(_totals(cost, batch_size=options.batch_size))
    kinds = {"ops": _op_table, "blocks": _block_table, "stages": _stage_table}
    kind = "ops" if options.ops else "blocks" if options.blocks else "stages"
    print(f"{spec.name} at {spec.resolution}")
    print()
    print_table(kinds[kind](cost))
    print()
    print_pairs(totals)
    comparison = compare(spec)
    if comparison is not None:
        print_comparison(comparison)


def run(options: Options) -> None:
    """Print the network that NET names."""
    spec = edited(find_network(options.network), options)
    if options.json:
        print_json(description(spec, options))
    else:
        print_description(spec, options)
