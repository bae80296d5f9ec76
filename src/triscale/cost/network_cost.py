"""What a network costs: a fold over its lowered ops, in total and for every stage, block and op.

Totals are what a search or a solver asks for, thousands of times a second, so they add up blocks whose ops were
folded once, for all resolutions. The detail goes op by op. Tests hold the two equal.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from triscale.arch.blocks import Block, blocks
from triscale.arch.lowering import NamedOps, lower, lower_head
from triscale.arch.ops import Op, Shape, output_resolution, output_shape
from triscale.arch.spec import LARGEST, NetworkSpec, Stage, square
from triscale.cost.op_cost import Cost, op_cost, op_rates


@dataclass(frozen=True, slots=True)
class OpCost:
    """One op of a block or of the head."""

    name: str
    """Its module's path in the block (`branch.expand_conv`) or, for the head, in the network (`classifier`)."""
    op: Op
    in_shape: Shape
    out_shape: Shape
    cost: Cost


@dataclass(frozen=True, slots=True)
class BlockCost:
    """One layer of a stage."""

    block: Block
    ops: tuple[OpCost, ...]
    cost: Cost


@dataclass(frozen=True, slots=True)
class StageCost:
    """One row of the table."""

    stage: Stage
    blocks: tuple[BlockCost, ...]
    cost: Cost


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """Totals of one image; `stages` and `head` work out the detail when asked."""

    spec: NetworkSpec
    params: int
    """Trained values."""
    macs: int
    """Multiply-adds of convolutions and matrix products: half of what torch's FLOP counter reports."""
    activations: int
    """Values that convolutions and matrix products write."""
    buffers: int
    """Running means and variances of batch norms."""

    @property
    def stages(self) -> tuple[StageCost, ...]:
        """Every stage, its blocks and their ops, in execution order."""
        rows = zip(self.spec.stages, blocks(self.spec), strict=True)
        return tuple(_stage_cost(stage, layers) for stage, layers in rows)

    @property
    def head(self) -> tuple[OpCost, ...]:
        """Pooling, dropout and the classifier."""
        return _op_costs(_walk(lower_head(self.spec), blocks(self.spec)[-1][-1].out_shape))


def _walk(ops: NamedOps, shape: Shape, prefix: str = "") -> Iterator[tuple[str, Op, Shape, Shape]]:
    """Name, op, input and output shape of each op in turn."""
    for name, op in ops:
        output = output_shape(op, shape)
        yield prefix + name, op, shape, output
        shape = output


def _walk_block(block: Block) -> Iterator[tuple[str, Op, Shape, Shape]]:
    lowered = lower(block)
    yield from _walk(lowered.branch, block.in_shape, "branch.")
    yield from _walk(lowered.shortcut or (), block.in_shape, "shortcut.")
    yield from _walk(lowered.after, block.out_shape, "after.")


def _op_costs(walk: Iterable[tuple[str, Op, Shape, Shape]]) -> tuple[OpCost, ...]:
    return tuple(OpCost(name, op, in_shape, out_shape, op_cost(op, in_shape)) for name, op, in_shape, out_shape in walk)


def _sum(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(sum, zip(*costs, strict=True)))


def _block_cost(block: Block) -> BlockCost:
    ops = _op_costs(_walk_block(block))
    return BlockCost(block, ops, _sum(op.cost for op in ops))


def _stage_cost(stage: Stage, layers: tuple[Block, ...]) -> StageCost:
    costs = tuple(_block_cost(block) for block in layers)
    return StageCost(stage, costs, _sum(block.cost for block in costs))


class _BlockRates(NamedTuple):
    """What a block costs per image, per pixel of its input and per pixel of its output."""

    params: int
    buffers: int
    image_macs: int
    in_macs: int
    out_macs: int
    image_activations: int
    in_activations: int
    out_activations: int


_LARGE = square(LARGEST)
"""A map that every stride shrinks, which tells the ops before a block's stride from those after."""


@lru_cache(maxsize=32768)
def _block_rates(block: Block) -> _BlockRates:
    """The ops of `block`, a layer on `_LARGE`, added up for every other resolution."""
    params = buffers = image_macs = image_activations = 0
    in_macs = in_activations = out_macs = out_activations = 0
    out_height = block.out_shape.height
    for _, op, _, out_shape in _walk_block(block):
        rates = op_rates(op)
        params += rates.params
        buffers += rates.buffers
        image_macs += rates.image_macs
        image_activations += rates.image_activations
        if out_shape.height == _LARGE.height:
            in_macs += rates.pixel_macs
            in_activations += rates.pixel_activations
        else:
            assert out_shape.height == out_height
            out_macs += rates.pixel_macs
            out_activations += rates.pixel_activations
    return _BlockRates(
        params, buffers, image_macs, in_macs, out_macs, image_activations, in_activations, out_activations
    )


def network_cost(spec: NetworkSpec) -> NetworkCost:
    """Parameters, multiply-adds and activations of `spec`, for one image at its resolution."""
    params = macs = activations = buffers = 0
    for stage in blocks(spec):
        for block, equal in groupby(stage):
            layers = len(list(equal))
            rates = _block_rates(block.at(_LARGE))
            height, width = block.resolution
            block_macs = rates.image_macs + rates.in_macs * height * width
            block_activations = rates.image_activations + rates.in_activations * height * width
            if block.stride > 1:
                height, width = output_resolution(block.resolution, block.stride)
                block_macs += rates.out_macs * height * width
                block_activations += rates.out_activations * height * width
            params += layers * rates.params
            buffers += layers * rates.buffers
            macs += layers * block_macs
            activations += layers * block_activations
    head = _sum(op_cost(op, shape) for _, op, shape, _ in _walk(lower_head(spec), block.out_shape))
    return NetworkCost(
        spec,
        params=params + head.params,
        macs=macs + head.macs,
        activations=activations + head.activations,
        buffers=buffers + head.buffers,
    )
