"""How much memory a network takes, in inference and in a training step, as eager torch allocates it.

Tensors only. What libraries take for themselves (a convolution's workspace, the allocator's rounding, torch's own code)
is not counted; `benchmarks/memory.py` measures how much that is.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from triscale.arch.blocks import Block, blocks
from triscale.arch.lowering import NamedOps, fold_norms, lower, lower_head
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
    output_shape,
)
from triscale.arch.spec import NetworkSpec
from triscale.cost.network_cost import network_cost
from triscale.cost.op_cost import op_rates
from triscale.cost.padding import padded_copy
from triscale.cost.tape import FLOAT32, INDEX, Buffer, Precision, Tape, record


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceMemory:
    """Peak memory of one forward pass without gradients, in bytes."""

    weights_bytes: int
    """Parameters, running statistics and batch counters."""
    activations_bytes: int
    """The largest set of feature maps, images included, alive at once."""

    @property
    def total_bytes(self) -> int:
        """Both."""
        return self.weights_bytes + self.activations_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMemory:
    """Peak memory of one training step, in bytes."""

    weights_bytes: int
    """Parameters, running statistics and batch counters."""
    gradients_bytes: int
    optimizer_bytes: int
    ema_bytes: int
    saved_bytes: int
    """What autograd keeps from forward to backward beside the weights, every storage once."""
    working_bytes: int
    """What the largest moment of the step holds beyond all of the above: images, logits, gradients of maps."""

    @property
    def total_bytes(self) -> int:
        """Everything at the largest moment."""
        return (
            self.weights_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.ema_bytes
            + self.saved_bytes
            + self.working_bytes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Eager:
    """How eager torch runs the network, which decides what it allocates."""

    value_bytes: int
    folded: bool
    inplace: bool

    def ops(self, ops: NamedOps) -> NamedOps:
        return fold_norms(ops) if self.folded else ops


def _squeeze_excite_bytes(op: SqueezeExcite, shape: Shape, eager: _Eager) -> int:
    """The mean lives to the end; beside it, what each of the following steps reads and writes."""
    channels, squeezed = op.channels, op.squeezed_channels
    activation = squeezed if eager.inplace else 2 * squeezed
    return (channels + max(activation, squeezed + channels, channels + shape.size)) * eager.value_bytes


def _max_pool_bytes(op: MaxPool, shape: Shape, eager: _Eager) -> int:
    """The kernel also writes the position of every maximum."""
    values = output_shape(op, shape).size
    return (padded_copy(op, shape) + values) * eager.value_bytes + values * INDEX


def _output_bytes(op: Op, shape: Shape, eager: _Eager) -> int:
    return output_shape(op, shape).size * eager.value_bytes


_WORKING_BYTES: dict[type, Callable[[Any, Shape, _Eager], int]] = {
    Conv: lambda op, shape, eager: _output_bytes(op, shape, eager) + padded_copy(op, shape) * eager.value_bytes,
    Norm: _output_bytes,
    Activate: lambda op, shape, eager: 0 if eager.inplace else _output_bytes(op, shape, eager),
    SqueezeExcite: _squeeze_excite_bytes,
    MaxPool: _max_pool_bytes,
    GlobalPool: _output_bytes,
    Dropout: lambda _op, _shape, _eager: 0,
    Linear: _output_bytes,
}
"""The most that an op holds at once beside its input, of one image; nothing where it returns its input."""


def _run_ops(ops: NamedOps, shape: Shape, eager: _Eager, *, owned_bytes: int = 0) -> tuple[int, int]:
    """Peak while `ops` run in turn, and what their result takes beside the first input, of one image.

    Of the first input `owned_bytes` are counted and given back once it is read; others hold the rest.
    """
    peak_bytes = current_bytes = owned_bytes
    for _, op in eager.ops(ops):
        working_bytes = _WORKING_BYTES[type(op)](op, shape, eager)
        peak_bytes = max(peak_bytes, current_bytes + working_bytes)
        if working_bytes:
            current_bytes = _output_bytes(op, shape, eager)
        shape = output_shape(op, shape)
    return peak_bytes, current_bytes


def _block_peak_bytes(block: Block, eager: _Eager) -> int:
    """The most that one image's way through `block` takes beside its input, which lives until the block is done."""
    lowered = lower(block)
    peak_bytes, branch_bytes = _run_ops(lowered.branch, block.in_shape, eager)
    if lowered.shortcut is None:
        return peak_bytes
    shortcut_peak_bytes, shortcut_bytes = _run_ops(lowered.shortcut, block.in_shape, eager)
    sum_bytes = block.out_shape.size * eager.value_bytes
    after_peak_bytes, _ = _run_ops(lowered.after, block.out_shape, eager, owned_bytes=sum_bytes)
    moments = shortcut_peak_bytes, shortcut_bytes + sum_bytes, after_peak_bytes
    return max(peak_bytes, branch_bytes + max(moments))


def _activations_bytes(spec: NetworkSpec, eager: _Eager) -> int:
    """Peak of one image's feature maps, the image included."""
    layers = blocks(spec)
    peak_bytes = image_bytes = layers[0][0].in_shape.size * eager.value_bytes
    for number, stage in enumerate(layers):
        stage_bytes = stage[0].in_shape.size * eager.value_bytes if number else 0
        for later, block in dict.fromkeys((layer > 0, block) for layer, block in enumerate(stage)):
            # Callers hold the images, the input of the running stage and that of the running block.
            held_bytes = image_bytes + stage_bytes + later * block.in_shape.size * eager.value_bytes
            peak_bytes = max(peak_bytes, held_bytes + _block_peak_bytes(block, eager))
    features = layers[-1][-1].out_shape
    head_peak_bytes, _ = _run_ops(lower_head(spec), features, eager)
    return max(peak_bytes, image_bytes + features.size * eager.value_bytes + head_peak_bytes)


def _weights_bytes(spec: NetworkSpec, eager: _Eager) -> int:
    """What a state dict of the network holds; every batch norm counts its batches in an int64."""
    total_bytes = sum(op_rates(op).params for _, op in lower_head(spec)) * eager.value_bytes
    for stage in blocks(spec):
        for block, equal in groupby(stage):
            lowered = lower(block)
            ops = (*lowered.branch, *(lowered.shortcut or ()), *lowered.after)
            rates = [op_rates(op) for _, op in eager.ops(ops)]
            values = sum(rate.params + rate.buffers for rate in rates)
            counters = sum(isinstance(op, Norm) for _, op in eager.ops(ops))
            total_bytes += len(list(equal)) * (values * eager.value_bytes + counters * INDEX)
    return total_bytes


def inference_memory(
    spec: NetworkSpec,
    *,
    batch_size: int = 1,
    bytes_per_value: int = 4,
    folded: bool = False,
    inplace: bool = True,
) -> InferenceMemory:
    """Peak memory of `network(images)` without gradients, for channels-last images that the caller keeps.

    Alive while an op runs: the images, the inputs of the running stage and block, a residual branch's result until
    the block is done, the op's own input and output, and what it makes on the way: a copy padded by TensorFlow's rule,
    a max pool's positions, the vectors of squeeze-and-excitation. `folded` merges norms into convolutions;
    `inplace` lets activations write over their input, as `Network` does without gradients. Raises ValueError for a
    batch or value size below 1.
    """
    _check_positive(batch_size=batch_size, bytes_per_value=bytes_per_value)
    eager = _Eager(value_bytes=bytes_per_value, folded=folded, inplace=inplace)
    return InferenceMemory(
        weights_bytes=_weights_bytes(spec, eager),
        activations_bytes=batch_size * _activations_bytes(spec, eager),
    )


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def _backward_peak_bytes(tape: Tape, logits: Buffer) -> int:
    """The most that is alive in backward: kept tensors, gradients of maps, gradients of weights so far.

    Each node frees what it kept and its output's gradient when it is done. A second gradient of the same tensor is
    added to the first in place.
    """
    readers = Counter(buffer for node in tape.nodes for buffer in set(node.saved))
    alive_bytes = sum(buffer.size_bytes for buffer in {*tape.saved, tape.images, logits})
    peak_bytes = alive_bytes
    gradients = {logits: Buffer(logits.values, logits.value_bytes)}
    for node in reversed(tape.nodes):
        gradient = gradients.pop(node.output)
        made = [gradient if node.passes_on else Buffer(i.values, i.value_bytes) for i in node.inputs]
        maps_bytes = sum(buffer.size_bytes for buffer in {gradient, *made, *gradients.values()})
        moment_bytes = alive_bytes + maps_bytes + node.weight_gradients_bytes + node.scratch_bytes
        peak_bytes = max(peak_bytes, moment_bytes)
        alive_bytes += node.weight_gradients_bytes
        for buffer in set(node.saved):
            readers[buffer] -= 1
            if not readers[buffer] and buffer not in (tape.images, logits):
                alive_bytes -= buffer.size_bytes
        for inputs, new in zip(node.inputs, made, strict=True):
            gradients.setdefault(inputs, new)
    return peak_bytes


def training_memory(
    spec: NetworkSpec,
    *,
    batch_size: int,
    precision: Precision = Precision.FLOAT32,
    optimizer_slots: int = 2,
    ema: bool = True,
) -> TrainingMemory:
    """Peak memory of one training step: forward, gradients of the last step freed, backward, update.

    `optimizer_slots` counts the optimizer's values per parameter: 2 for RMSProp with momentum and for Adam, 1 for SGD
    with momentum. `ema` adds an average of the weights. The peak is the larger of two moments: the largest in forward,
    beside the last step's gradients, and the largest in backward, beside the gradients so far. Neither the loss's own
    tensors nor the update's temporary ones are counted; both are small beside these. Raises ValueError for a batch
    below 1 or a negative number of slots.
    """
    _check_positive(batch_size=batch_size)
    if optimizer_slots < 0:
        raise ValueError(f"optimizer_slots must not be negative, got {optimizer_slots}")
    weights_bytes = _weights_bytes(spec, _Eager(value_bytes=FLOAT32, folded=False, inplace=False))
    gradients_bytes = network_cost(spec).params * FLOAT32
    tape, logits = record(spec, batch_size=batch_size, precision=precision)
    step_bytes = max(gradients_bytes + tape.forward_peak_bytes, _backward_peak_bytes(tape, logits))
    return TrainingMemory(
        weights_bytes=weights_bytes,
        gradients_bytes=gradients_bytes,
        optimizer_bytes=optimizer_slots * gradients_bytes,
        ema_bytes=weights_bytes if ema else 0,
        saved_bytes=tape.saved_bytes,
        working_bytes=step_bytes - gradients_bytes - tape.saved_bytes,
    )
