"""Name maps: which tensor of ours is which tensor of another library, derived from the same lowered ops.

A library contributes one pure function, `rows(spec)`, which walks `holders(spec)` and names each op as its peer does.
Both directions, and every error, follow from the rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

from triscale.arch.blocks import Block, blocks
from triscale.arch.lowering import NamedOps, lower, lower_head
from triscale.arch.ops import Conv, Linear, Norm, SqueezeExcite
from triscale.arch.spec import NetworkSpec

SHOWN = 3
"""Names that one error line spells out."""


class Library(StrEnum):
    """Whose names a state dict uses."""

    TRISCALE = "triscale"
    TIMM = "timm"
    TORCHVISION = "torchvision"
    EFFICIENTNET_PYTORCH = "efficientnet-pytorch"
    KERAS = "keras"


class Part(StrEnum):
    """Where in a network an op stands."""

    BRANCH = "branch"
    SHORTCUT = "shortcut"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class Holder:
    """One op that holds tensors, and where it stands; squeeze-and-excitation counts as two convolutions."""

    ours: str
    """Path of the module in our network: `stages.2.0.branch.expand_conv`."""
    part: Part
    name: str
    """Of the op within its part: `expand_conv`, `squeeze_excite.reduce`, `project_norm`, `classifier`."""
    op: Conv | Norm | Linear
    stage: int = -1
    """Stage number from 0, the stem included; -1 in the head."""
    layer: int = -1
    """Layer within the stage, from 0."""
    block_number: int = -1
    """Blocks of all stages before this one, the stem's and any pool's included."""
    block: Block | None = None
    """None in the head."""


class Transform(StrEnum):
    """How a tensor of ours is laid out in the other library."""

    SAME = "same"
    HWIO = "hwio"
    """(out, in, k, k) here, (k, k, in, out) there: TensorFlow's convolutions."""
    HWC1 = "hwc1"
    """(channels, 1, k, k) here, (k, k, channels, 1) there: TensorFlow's depthwise convolutions."""
    TRANSPOSED = "transposed"
    """(out, in) here, (in, out) there: TensorFlow's dense layers."""


_TO_THEIRS: dict[Transform, tuple[int, ...] | None] = {
    Transform.SAME: None,
    Transform.HWIO: (2, 3, 1, 0),
    Transform.HWC1: (2, 3, 0, 1),
    Transform.TRANSPOSED: (1, 0),
}


class Leaf(NamedTuple):
    """One tensor of an op: its name on either side."""

    ours: str
    theirs: str
    transform: Transform = Transform.SAME


COUNTER = "num_batches_tracked"
"""PyTorch's count of training batches in every batch norm. Evaluation never reads it, so it may be missing."""

_NORM_LEAVES = tuple(Leaf(name, name) for name in ("weight", "bias", "running_mean", "running_var", COUNTER))
_WEIGHT, _BIAS = Leaf("weight", "weight"), Leaf("bias", "bias")


def torch_leaves(op: Conv | Norm | Linear) -> tuple[Leaf, ...]:
    """Tensors of an op as every PyTorch library names them."""
    if isinstance(op, Norm):
        return _NORM_LEAVES
    return (_WEIGHT, _BIAS) if isinstance(op, Linear) or op.bias else (_WEIGHT,)


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor: our name, theirs, our shape, and how to get from one to the other."""

    ours: str
    theirs: str
    shape: tuple[int, ...]
    transform: Transform = Transform.SAME

    @property
    def is_counter(self) -> bool:
        """Whether it is a batch norm's count of batches, which either side may lack."""
        return self.ours.endswith(COUNTER)

    @property
    def their_shape(self) -> tuple[int, ...]:
        """Shape in the other library."""
        order = _TO_THEIRS[self.transform]
        return self.shape if order is None else tuple(self.shape[axis] for axis in order)

    def to_theirs(self, tensor: Tensor) -> Tensor:
        """Our tensor as the other library stores it."""
        order = _TO_THEIRS[self.transform]
        return tensor.contiguous() if order is None else tensor.permute(order).contiguous()

    def to_ours(self, tensor: Tensor) -> Tensor:
        """Their tensor as we store it."""
        order = _TO_THEIRS[self.transform]
        if order is None:
            return tensor
        back = tuple(order.index(axis) for axis in range(len(order)))
        return tensor.permute(back).contiguous()


def _shape(op: Conv | Norm | Linear, leaf: str) -> tuple[int, ...]:
    if leaf == COUNTER:
        return ()
    if isinstance(op, Norm):
        return (op.channels,)
    if isinstance(op, Linear):
        return (op.out_features, op.in_features) if leaf == "weight" else (op.out_features,)
    shape = (op.out_channels, op.in_channels // op.groups, op.kernel, op.kernel)
    return shape if leaf == "weight" else (op.out_channels,)


def _primitive(ops: NamedOps) -> Iterator[tuple[str, Conv | Norm | Linear]]:
    for name, op in ops:
        if isinstance(op, SqueezeExcite):
            yield f"{name}.reduce", Conv(op.channels, op.squeezed_channels, bias=True)
            yield f"{name}.expand", Conv(op.squeezed_channels, op.channels, bias=True)
        elif isinstance(op, Conv | Norm | Linear):
            yield name, op


def holders(spec: NetworkSpec) -> tuple[Holder, ...]:
    """Every op of `spec` that holds tensors, in execution order, a shortcut's after its branch's."""
    found: list[Holder] = []
    number = 0
    for stage, row in enumerate(blocks(spec)):
        for layer, block in enumerate(row):
            lowered = lower(block)
            for part, ops in ((Part.BRANCH, lowered.branch), (Part.SHORTCUT, lowered.shortcut or ())):
                prefix = f"stages.{stage}.{layer}.{part}"
                found += [
                    Holder(f"{prefix}.{name}", part, name, op, stage, layer, number, block)
                    for name, op in _primitive(ops)
                ]
            number += 1
    found += [Holder(name, Part.HEAD, name, op) for name, op in _primitive(lower_head(spec))]
    return tuple(found)


def map_rows(
    spec: NetworkSpec,
    their_name: Callable[[Holder], str],
    *,
    leaves: Callable[[Conv | Norm | Linear], tuple[Leaf, ...]] = torch_leaves,
    separator: str = ".",
) -> tuple[Row, ...]:
    """Rows of every tensor of `spec`: `their_name` names each op's module, `leaves` the tensors in it."""
    rows = tuple(
        Row(
            f"{holder.ours}.{leaf.ours}",
            f"{their_name(holder)}{separator}{leaf.theirs}",
            _shape(holder.op, leaf.ours),
            leaf.transform,
        )
        for holder in holders(spec)
        for leaf in leaves(holder.op)
    )
    assert len({row.theirs for row in rows}) == len(rows), f"two tensors of {spec.name} get the same name"
    return rows


def _first_few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _classes_found(rows: tuple[Row, ...], state: Mapping[str, Tensor]) -> int | None:
    """Outputs of the classifier in `state`; None where it cannot be told."""
    row = next((row for row in rows if row.ours == "classifier.bias"), None)
    return state[row.theirs].numel() if row and row.theirs in state else None


def _channels_found(rows: tuple[Row, ...], state: Mapping[str, Tensor]) -> int | None:
    """Input channels of the first convolution in `state`; None where it cannot be told."""
    row = rows[0]
    found = state.get(row.theirs)
    return row.to_ours(found).shape[1] if found is not None and found.ndim == len(row.shape) == 4 else None


def _cause(rows: tuple[Row, ...], state: Mapping[str, Tensor], spec: NetworkSpec, wrong: list[Row]) -> str:
    """The likely reason for `wrong` shapes."""
    names = {row.ours for row in wrong}
    if not names:
        return ""
    if names <= {"classifier.weight", "classifier.bias"}:
        return f"; the weights have {_classes_found(rows, state)} classes, the spec {spec.classes}"
    if names == {rows[0].ours}:
        return f"; the weights take {_channels_found(rows, state)} input channels, the spec {spec.input_channels}"
    return "; most likely another network or width"


def _check(rows: tuple[Row, ...], state: Mapping[str, Tensor], spec: NetworkSpec, *, where: str) -> None:
    known = {row.theirs for row in rows}
    needed = [row for row in rows if not row.is_counter]
    missing = [row.theirs for row in needed if row.theirs not in state]
    unknown = [name for name in state if name not in known and not name.endswith(COUNTER)]
    wrong = [r for r in needed if r.theirs in state and tuple(state[r.theirs].shape) != r.their_shape]
    problems = []
    if missing:
        problems.append(f"{len(missing)} missing ({_first_few(missing)})")
    if unknown:
        problems.append(f"{len(unknown)} unknown ({_first_few(unknown)})")
    if wrong:
        shapes = [f"{row.theirs} is {tuple(state[row.theirs].shape)}, expected {row.their_shape}" for row in wrong]
        problems.append(f"{len(wrong)} of another shape ({_first_few(shapes)})")
    if problems:
        cause = _cause(rows, state, spec, wrong)
        raise ValueError(f"{where} does not fit {spec.name}: tensors " + ", ".join(problems) + cause)


def _counter(state: Mapping[str, Tensor], name: str) -> Tensor:
    return state[name] if name in state else torch.zeros((), dtype=torch.long)


def to_theirs(
    rows: tuple[Row, ...], state: Mapping[str, Tensor], spec: NetworkSpec, *, where: str = "the state dict"
) -> dict[str, Tensor]:
    """Our state dict under their names and layouts; a missing count of batches becomes zero.

    Raises ValueError, in one line that names `where`, for missing, unknown or mis-shaped tensors.
    """
    _check(tuple(Row(row.ours, row.ours, row.shape) for row in rows), state, spec, where=where)
    return {row.theirs: _counter(state, row.ours) if row.is_counter else row.to_theirs(state[row.ours]) for row in rows}


def to_ours(
    rows: tuple[Row, ...], state: Mapping[str, Tensor], spec: NetworkSpec, *, where: str = "the state dict"
) -> dict[str, Tensor]:
    """Their state dict under our names and layouts; every batch norm gets a count of batches, zero where missing.

    Raises ValueError, in one line that names `where`, for missing, unknown or mis-shaped tensors.
    """
    _check(rows, state, spec, where=where)
    ours = {row.ours: _counter(state, row.theirs) if row.is_counter else row.to_ours(state[row.theirs]) for row in rows}
    for holder in holders(spec):
        if isinstance(holder.op, Norm):
            ours.setdefault(f"{holder.ours}.{COUNTER}", torch.zeros((), dtype=torch.long))
    return ours
