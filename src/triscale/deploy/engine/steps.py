"""From a spec to the fused steps that the engine runs, walking the same ops as cost and module."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from typing import TypeGuard

from triscale.arch.blocks import Block, blocks
from triscale.arch.lowering import LoweredBlock, NamedOps, fold_norms, lower, lower_head
from triscale.arch.ops import (
    Activate,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    MaxPool,
    Op,
    Shape,
    SqueezeExcite,
    output_shape,
    same_padding,
)
from triscale.arch.spec import Activation, NetworkSpec, Padding, Resolution

LARGEST_KERNEL = 63
STEM_CHANNELS = 16
"""Images of fewer channels are read by the first convolution itself."""


class UnsupportedNetwork(ValueError):
    """A network that has what the engine has not."""


class Kind(IntEnum):
    """What a step does, as the packed file numbers it."""

    IMAGE = 1
    STEM = 2
    CONV = 3
    DEPTHWISE = 4
    EXPAND_DEPTHWISE = 5
    SUMS = 6
    EXCITE = 7
    MAX_POOL = 8
    MEAN = 9
    LINEAR = 10


class Flag(IntFlag):
    """What a step does besides."""

    SCALED = 1
    RESIDUAL = 2
    SUMMED = 4
    INT8 = 8
    INT16 = 16
    STORED = 32
    STORES_8 = 64
    STORES_16 = 128


_NONE = Flag(0)
ACTIVATIONS = {None: 0, Activation.SILU: 1, Activation.RELU: 2, Activation.RELU6: 3}


@dataclass(frozen=True, slots=True)
class Map:
    """A feature map between steps."""

    number: int
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; `weights` and `weights2` name modules of the network with folded batch norms."""

    kind: Kind
    name: str
    """Of the layer, as modules are called, for profiles."""
    in_shape: Shape
    out_shape: Shape
    input: Map | None = None
    output: Map | None = None
    residual: Map | None = None
    activation: Activation | None = None
    after: Activation | None = None
    kernel: int = 1
    stride: int = 1
    padding: Padding = Padding.SYMMETRIC
    squeezed_channels: int = 0
    weights: str = ""
    weights2: str = ""
    flags: Flag = _NONE

    @property
    def pads(self) -> tuple[int, int]:
        """Rows of zeros above the input, and columns left of it."""
        if self.padding is Padding.SYMMETRIC or self.stride == 1:
            return self.kernel // 2, self.kernel // 2
        top, _ = same_padding(self.in_shape.height, kernel=self.kernel, stride=self.stride)
        left, _ = same_padding(self.in_shape.width, kernel=self.kernel, stride=self.stride)
        return top, left


class _Ops:
    """Ops in a row, taken one after another."""

    def __init__(self, ops: NamedOps, prefix: str) -> None:
        self._ops, self._index = ops, 0
        self.prefix = prefix

    def take(self) -> tuple[str, Op]:
        """The next op, with its module's name."""
        name, op = self._ops[self._index]
        self._index += 1
        return self.prefix + name, op

    def take_activation(self) -> Activation | None:
        """The nonlinearity that comes next, if one does."""
        op = self.ahead()
        if not isinstance(op, Activate):
            return None
        self._index += 1
        return op.activation

    def ahead(self, count: int = 0) -> Op | None:
        """The op after `count` more."""
        index = self._index + count
        return self._ops[index][1] if index < len(self._ops) else None


class _Walk:
    """Steps so far."""

    def __init__(self, image: Shape) -> None:
        self.steps: list[Step] = []
        self.image = image
        self.scales_next = False
        """Whether squeeze-and-excitation's factors wait for the next convolution."""
        self._maps = 0

    def new_map(self, shape: Shape) -> Map:
        self._maps += 1
        return Map(self._maps, shape)

    def add(self, step: Step) -> None:
        if step.kernel > LARGEST_KERNEL or step.stride > LARGEST_KERNEL:
            raise UnsupportedNetwork(
                f"{step.name}: the engine has kernels and strides up to {LARGEST_KERNEL}, "
                f"got {step.kernel} and {step.stride}"
            )
        self.steps.append(step)

    def image_map(self) -> Map:
        """The image as a feature map, where no convolution reads its pixels itself."""
        output = self.new_map(self.image)
        self.add(Step(kind=Kind.IMAGE, name="image", in_shape=self.image, out_shape=self.image, output=output))
        return output


def _is_depthwise(op: Op | None) -> TypeGuard[Conv]:
    return isinstance(op, Conv) and op.groups == op.in_channels == op.out_channels and op.groups > 1


def _widens(op: Conv, ops: _Ops) -> bool:
    """Whether `op`, just taken, only makes what a depthwise convolution reads."""
    following = ops.ahead(1 if isinstance(ops.ahead(), Activate) else 0)
    return (op.kernel, op.stride, op.groups) == (1, 1, 1) and _is_depthwise(following)


def _dense(walk: _Walk, source: Map | None, ops: _Ops, name: str, op: Conv) -> Map:
    reads_image = source is None and op.in_channels < STEM_CHANNELS
    source = source if source or reads_image else walk.image_map()
    shape = walk.image if source is None else source.shape
    output = walk.new_map(output_shape(op, shape))
    if walk.scales_next and (op.kernel, op.stride) != (1, 1):
        raise UnsupportedNetwork(f"{name}: only a 1x1 convolution may follow squeeze-and-excitation")
    walk.add(
        Step(
            kind=Kind.STEM if reads_image else Kind.CONV,
            name=name,
            in_shape=shape,
            out_shape=output.shape,
            input=source,
            output=output,
            activation=ops.take_activation(),
            kernel=op.kernel,
            stride=op.stride,
            padding=op.padding,
            weights=name,
            flags=Flag.SCALED if walk.scales_next else _NONE,
        )
    )
    walk.scales_next = False
    return output


def _depthwise(walk: _Walk, source: Map | None, ops: _Ops, name: str, op: Conv) -> Map:
    """A depthwise convolution, and the 1x1 convolution before it where `op` is that one."""
    source = source or walk.image_map()
    widen, first = "", None
    if not _is_depthwise(op):
        widen, first = name, ops.take_activation()
        name, following = ops.take()
        assert _is_depthwise(following)
        op = following
    wide = Shape(op.in_channels, source.shape.height, source.shape.width)
    output = walk.new_map(output_shape(op, wide))
    walk.add(
        Step(
            kind=Kind.EXPAND_DEPTHWISE if widen else Kind.DEPTHWISE,
            name=name,
            in_shape=source.shape,
            out_shape=output.shape,
            input=source,
            output=output,
            activation=first,
            after=ops.take_activation(),
            kernel=op.kernel,
            stride=op.stride,
            padding=op.padding,
            weights=widen,
            weights2=name,
            flags=Flag.SUMMED if isinstance(ops.ahead(), SqueezeExcite) else _NONE,
        )
    )
    return output


def _excite(walk: _Walk, source: Map, name: str, op: SqueezeExcite) -> Map:
    """Factors for the next convolution; a sum over pixels first where no depthwise step made it."""
    if not (walk.steps and walk.steps[-1].flags & Flag.SUMMED):
        shape = source.shape
        walk.add(
            Step(kind=Kind.SUMS, name=f"{name}.sums", in_shape=shape, out_shape=shape, input=source, flags=Flag.SUMMED)
        )
    one = Shape(op.channels, 1, 1)
    walk.add(
        Step(
            kind=Kind.EXCITE,
            name=name,
            in_shape=one,
            out_shape=one,
            activation=op.activation,
            squeezed_channels=op.squeezed_channels,
            weights=f"{name}.reduce",
            weights2=f"{name}.expand",
        )
    )
    walk.scales_next = True
    return source


def _max_pool(walk: _Walk, source: Map | None, name: str, op: MaxPool) -> Map:
    source = source or walk.image_map()
    output = walk.new_map(output_shape(op, source.shape))
    walk.add(
        Step(
            kind=Kind.MAX_POOL,
            name=name,
            in_shape=source.shape,
            out_shape=output.shape,
            input=source,
            output=output,
            kernel=op.kernel,
            stride=op.stride,
            padding=op.padding,
        )
    )
    return output


def _walk_ops(walk: _Walk, source: Map | None, named: NamedOps, prefix: str) -> Map | None:
    """Steps of `named` in a row; `source` None is the image itself. Returns the map they end with."""
    ops = _Ops(named, prefix)
    while ops.ahead() is not None:
        name, op = ops.take()
        if isinstance(op, Conv) and (_is_depthwise(op) or _widens(op, ops)):
            source = _depthwise(walk, source, ops, name, op)
        elif isinstance(op, Conv) and op.groups == 1:
            source = _dense(walk, source, ops, name, op)
        elif isinstance(op, SqueezeExcite) and source is not None:
            source = _excite(walk, source, name, op)
        elif isinstance(op, MaxPool):
            source = _max_pool(walk, source, name, op)
        else:
            raise UnsupportedNetwork(f"{name}: the engine has no {type(op).__name__} there")
    if walk.scales_next:
        raise UnsupportedNetwork(f"{prefix[:-1]}: a 1x1 convolution must follow squeeze-and-excitation")
    return source


def _walk_block(walk: _Walk, source: Map | None, lowered: LoweredBlock, prefix: str) -> Map | None:
    """after(branch(x) + shortcut(x)): the sum goes into the branch's last step."""
    if lowered.shortcut is None:
        return _walk_ops(walk, source, fold_norms((*lowered.branch, *lowered.after)), f"{prefix}branch.")
    source = source or walk.image_map()
    shortcut = _walk_ops(walk, source, fold_norms(lowered.shortcut), f"{prefix}shortcut.")
    output = _walk_ops(walk, source, fold_norms(lowered.branch), f"{prefix}branch.")
    after = _Ops(lowered.after, prefix).take_activation()
    last = walk.steps[-1]
    if last.kind is not Kind.CONV or len(lowered.after) > (after is not None):
        raise UnsupportedNetwork(f"{prefix[:-1]}: the engine adds shortcuts to dense convolutions only")
    walk.steps[-1] = replace(last, residual=shortcut, after=after, flags=last.flags | Flag.RESIDUAL)
    return output


def _numbered(spec: NetworkSpec) -> Iterator[tuple[str, Block]]:
    for stage, layers in enumerate(blocks(spec)):
        for layer, block in enumerate(layers):
            yield f"stages.{stage}.{layer}.", block


def steps_of(spec: NetworkSpec, resolution: Resolution | None = None, *, features: bool = False) -> tuple[Step, ...]:
    """The steps of `spec` for images of `resolution` (the spec's own by default).

    With `features` they end with the pooled features, as they do where the spec has no classes. Raises
    `UnsupportedNetwork` for what the engine has not.
    """
    height, width = resolution or spec.resolution
    walk = _Walk(Shape(spec.input_channels, height, width))
    source: Map | None = None
    for prefix, block in _numbered(spec):
        source = _walk_block(walk, source, lower(block), prefix)
    source = source or walk.image_map()
    for name, op in lower_head(spec):
        pooled = Shape(source.shape.channels, 1, 1)
        if isinstance(op, GlobalPool):
            walk.add(Step(kind=Kind.MEAN, name=name, in_shape=source.shape, out_shape=pooled, input=source))
        elif isinstance(op, Linear) and not features:
            walk.add(
                Step(kind=Kind.LINEAR, name=name, in_shape=pooled, out_shape=output_shape(op, pooled), weights=name)
            )
        else:
            assert features or isinstance(op, Dropout), op
    return tuple(walk.steps)
