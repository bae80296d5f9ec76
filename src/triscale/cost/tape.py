"""What autograd records while a network runs in training: the tensors it keeps, and what backward makes of them.

One rule an op, in the order in which eager torch runs its kernels. Everything is counted in bytes; nothing is
computed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from triscale.arch.blocks import Block, blocks, stochastic_depth_rates
from triscale.arch.lowering import NamedOps, lower, lower_head
from triscale.arch.ops import (
    Activate,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    MaxPool,
    Norm,
    Shape,
    SqueezeExcite,
    output_shape,
)
from triscale.arch.spec import Activation, NetworkSpec
from triscale.cost.op_cost import op_rates
from triscale.cost.padding import padded_copy

FLOAT32 = 4
BFLOAT16 = 2
INDEX = 8
"""Bytes of a value: of weights and statistics, of what autocast computes, and of max pooling's positions."""


class Precision(StrEnum):
    """What a training step computes in; weights, gradients and optimizer state are float32 in both."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """`torch.autocast`: convolutions and matrix products run on bfloat16 copies of their inputs and weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A tensor with memory of its own. Two of the same size are still two, so equality is identity."""

    values: int
    value_bytes: int
    needs_gradient: bool = True

    @property
    def size_bytes(self) -> int:
        """Its memory, and that of its gradient."""
        return self.values * self.value_bytes


@dataclass(frozen=True, slots=True)
class Node:
    """One step of backward: turns the gradient of `output` into those of `inputs`, reading `saved`."""

    inputs: tuple[Buffer, ...]
    """Those that need a gradient."""
    output: Buffer
    saved: tuple[Buffer, ...] = ()
    weight_gradients_bytes: int = 0
    scratch_bytes: int = 0
    """What it needs for itself beside gradients."""
    passes_on: bool = False
    """Whether the inputs' gradients are the output's own memory."""


@dataclass(slots=True)
class Tape:
    """The nodes of one forward pass, in order, and what they keep."""

    batch_size: int
    precision: Precision
    images: Buffer
    nodes: list[Node] = field(default_factory=list)
    saved: dict[Buffer, None] = field(default_factory=dict)
    """Every buffer that some node keeps, once."""
    saved_bytes: int = 0
    held: tuple[Buffer, ...] = ()
    """What callers keep alive while the running op works, whether or not backward needs it."""
    cached_bytes: int = 0
    """The copies of biases, which autocast keeps until forward is over."""
    forward_peak_bytes: int = 0
    """The most alive at once: images, what is saved and held, and what a kernel reads and writes."""

    def apply(
        self,
        inputs: tuple[Buffer, ...],
        output: Buffer,
        *,
        saved: tuple[Buffer, ...] = (),
        weights: int = 0,
        scratch_bytes: int = 0,
        passes_on: bool = False,
    ) -> Buffer:
        """Record how a kernel makes `output` of `inputs` and a number of `weights`; returns it."""
        alive = {self.images, *self.held, *inputs, output, *saved}
        if output.needs_gradient:
            inputs = tuple(buffer for buffer in inputs if buffer.needs_gradient)
            self.nodes.append(Node(inputs, output, saved, weights * FLOAT32, scratch_bytes, passes_on))
            for buffer in saved:
                self.saved_bytes += 0 if buffer in self.saved else buffer.size_bytes
                self.saved[buffer] = None
        alive_bytes = sum(buffer.size_bytes for buffer in alive - self.saved.keys())
        self.forward_peak_bytes = max(self.forward_peak_bytes, self.saved_bytes + self.cached_bytes + alive_bytes)
        return output


def _like(buffer: Buffer, values: int) -> Buffer:
    return Buffer(values, buffer.value_bytes, buffer.needs_gradient)


def _autocast(tape: Tape, inputs: Buffer) -> Buffer:
    """The copy that autocast makes for a convolution or matrix product, if it needs one."""
    if tape.precision is Precision.FLOAT32 or inputs.value_bytes == BFLOAT16:
        return inputs
    return tape.apply((inputs,), Buffer(inputs.values, BFLOAT16, inputs.needs_gradient))


def _product(
    tape: Tape, inputs: Buffer, *, outputs: int, weights: int, biases: int, keeps_weights: bool = True
) -> Buffer:
    """A convolution or matrix product: keeps its input, and its weights where autocast copied them."""
    inputs = _autocast(tape, inputs)
    saved: tuple[Buffer, ...] = (inputs,)
    if tape.precision is Precision.BFLOAT16:
        saved = (inputs, Buffer(weights, BFLOAT16)) if keeps_weights else saved
        tape.cached_bytes += biases * BFLOAT16
    return tape.apply((inputs,), Buffer(outputs, inputs.value_bytes), saved=saved, weights=weights + biases)


def _pad(tape: Tape, op: Conv | MaxPool, inputs: Buffer, shape: Shape) -> Buffer:
    values = padded_copy(op, shape)
    if not values:
        return inputs
    padded = tape.apply((inputs,), _like(inputs, tape.batch_size * values))
    tape.held += (padded,)
    return padded


def _conv(tape: Tape, op: Conv, inputs: Buffer, shape: Shape) -> Buffer:
    outputs = tape.batch_size * output_shape(op, shape).size
    biases = op.out_channels if op.bias else 0
    weights = op_rates(op).params - biases
    return _product(tape, _pad(tape, op, inputs, shape), outputs=outputs, weights=weights, biases=biases)


def _norm(tape: Tape, op: Norm, inputs: Buffer, _: Shape) -> Buffer:
    """Keeps its input and the batch's mean and inverse deviation; its weights make even images need a gradient."""
    statistics = Buffer(op.channels, FLOAT32), Buffer(op.channels, FLOAT32)
    output = Buffer(inputs.values, inputs.value_bytes)
    return tape.apply((inputs,), output, saved=(inputs, *statistics), weights=2 * op.channels)


_KEEPS_OUTPUT = {Activation.SILU: False, Activation.RELU: True, Activation.RELU6: False}
"""Which side of the nonlinearity its derivative is computed from."""


def _activate(tape: Tape, op: Activate, inputs: Buffer, _: Shape) -> Buffer:
    output = _like(inputs, inputs.values)
    return tape.apply((inputs,), output, saved=(output if _KEEPS_OUTPUT[op.activation] else inputs,))


def _squeeze_excite(tape: Tape, op: SqueezeExcite, inputs: Buffer, _: Shape) -> Buffer:
    """The scaling keeps both factors; its backward makes a map of products before it sums them for the gate."""
    channels, squeezed = op.channels, op.squeezed_channels
    count, pixel = tape.batch_size, Shape(op.channels, 1, 1)
    values = tape.apply((inputs,), _like(inputs, count * channels))
    tape.held += (values,)
    values = _product(tape, values, outputs=count * squeezed, weights=channels * squeezed, biases=squeezed)
    values = _activate(tape, Activate(op.activation), values, pixel)
    values = _product(tape, values, outputs=count * channels, weights=channels * squeezed, biases=channels)
    gate = _like(values, values.values)
    tape.apply((values,), gate, saved=(gate,))
    output = _like(inputs, inputs.values)
    return tape.apply((inputs, gate), output, saved=(inputs, gate), scratch_bytes=inputs.size_bytes)


def _max_pool(tape: Tape, op: MaxPool, inputs: Buffer, shape: Shape) -> Buffer:
    inputs = _pad(tape, op, inputs, shape)
    values = tape.batch_size * output_shape(op, shape).size
    return tape.apply((inputs,), _like(inputs, values), saved=(inputs, Buffer(values, INDEX)))


def _global_pool(tape: Tape, _: GlobalPool, inputs: Buffer, shape: Shape) -> Buffer:
    return tape.apply((inputs,), _like(inputs, tape.batch_size * shape.channels))


def _dropout(tape: Tape, op: Dropout, inputs: Buffer, _: Shape) -> Buffer:
    """Keeps the mask, of its input's type."""
    if op.rate == 0:
        return inputs
    mask = _like(inputs, inputs.values if op.rate < 1 else 1)
    return tape.apply((inputs,), _like(inputs, inputs.values), saved=(mask,))


def _linear(tape: Tape, op: Linear, inputs: Buffer, _: Shape) -> Buffer:
    """Unlike a convolution it keeps no weights that backward will not read."""
    return _product(
        tape,
        inputs,
        outputs=tape.batch_size * op.out_features,
        weights=op.in_features * op.out_features,
        biases=op.out_features,
        keeps_weights=inputs.needs_gradient,
    )


_RULES: dict[type, Callable[[Tape, Any, Buffer, Shape], Buffer]] = {
    Conv: _conv,
    Norm: _norm,
    Activate: _activate,
    SqueezeExcite: _squeeze_excite,
    MaxPool: _max_pool,
    GlobalPool: _global_pool,
    Dropout: _dropout,
    Linear: _linear,
}


def _record(tape: Tape, ops: NamedOps, inputs: Buffer, shape: Shape, *held: Buffer) -> Buffer:
    """What `ops` make of `inputs` in turn, while `held` and `inputs` stay alive."""
    values = inputs
    for _, op in ops:
        tape.held = (*held, inputs, values)
        values, shape = _RULES[type(op)](tape, op, values, shape), output_shape(op, shape)
    return values


def _stochastic_depth(tape: Tape, rate: float, inputs: Buffer) -> Buffer:
    """Keeps one factor an image."""
    if rate == 0:
        return inputs
    factors = _like(inputs, tape.batch_size)
    return tape.apply((inputs,), _like(inputs, inputs.values), saved=(factors,))


def _block(tape: Tape, block: Block, inputs: Buffer, held: Buffer, *, stochastic_depth_rate: float) -> Buffer:
    lowered = lower(block)
    branch = _record(tape, lowered.branch, inputs, block.in_shape, held)
    if lowered.shortcut is None:
        return branch
    tape.held = (held, inputs, branch)
    dropped = _stochastic_depth(tape, stochastic_depth_rate, branch)
    shortcut = _record(tape, lowered.shortcut, inputs, block.in_shape, held, branch, dropped)
    value_bytes = max(branch.value_bytes, shortcut.value_bytes)
    tape.held = (held, inputs, branch)
    summed = tape.apply((dropped, shortcut), Buffer(branch.values, value_bytes), passes_on=True)
    return _record(tape, lowered.after, summed, block.out_shape, held, inputs, branch)


def record(spec: NetworkSpec, *, batch_size: int, precision: Precision) -> tuple[Tape, Buffer]:
    """The tape of one forward pass in training, and its logits."""
    layers = blocks(spec)
    images = Buffer(batch_size * layers[0][0].in_shape.size, FLOAT32, needs_gradient=False)
    tape = Tape(batch_size, precision, images)
    values = images
    for stage, rates in zip(layers, stochastic_depth_rates(spec), strict=True):
        stage_input = values  # the network's loop holds it until the stage is done
        for block, rate in zip(stage, rates, strict=True):
            values = _block(tape, block, values, stage_input, stochastic_depth_rate=rate)
    return tape, _record(tape, lower_head(spec), values, layers[-1][-1].out_shape)
