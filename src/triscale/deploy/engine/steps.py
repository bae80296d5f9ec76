"""From a spec to the fused steps that the engine runs, walking the same ops as cost and module."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag

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


class _Walk:
    """Steps so far, and the map that the next one reads."""

    def __init__(self, image: Shape) -> None:
        self.steps: list[Step] = []
        self.image = image
        self.maps = 0
        self.pending_scale = False

    def new_map(self, shape: Shape) -> Map:
        self.maps += 1
        return Map(self.maps, shape)

    def add(self, step: Step) -> None:
        if step.kernel > LARGEST_KERNEL or step.stride > LARGEST_KERNEL:
            raise UnsupportedNetwork(
                f"{step.name}: the engine has kernels and strides up to {LARGEST_KERNEL}, "
                f"got {step.kernel} and {step.stride}"
            )
        self.steps.append(step)


def _is_depthwise(op: Op) -> bool:
    return isinstance(op, Conv) and op.groups == op.in_channels == op.out_channels and op.groups > 1


def _activation_at(ops: NamedOps, index: int) -> Activation | None:
    op = ops[index][1] if index < len(ops) else None
    return op.activation if isinstance(op, Activate) else None


def _image(walk: _Walk) -> Map:
    output = walk.new_map(walk.image)
    walk.add(Step(kind=Kind.IMAGE, name="image", in_shape=walk.image, out_shape=walk.image, output=output))
    return output


def _widens(ops: NamedOps, index: int) -> bool:
    """Whether a 1x1 convolution at `index` only makes what a depthwise one reads."""
    op = ops[index][1]
    following = index + (2 if _activation_at(ops, index + 1) else 1)
    return (
        isinstance(op, Conv)
        and (op.kernel, op.stride, op.groups) == (1, 1, 1)
        and following < len(ops)
        and _is_depthwise(ops[following][1])
    )


def _walk_ops(walk: _Walk, source: Map | None, ops: NamedOps, prefix: str) -> Map | None:
    """Steps of `ops` in a row; `source` None is the image itself. Returns the map they end with."""
    index = 0
    while index < len(ops):
        name, op = ops[index]
        index += 1
        shape = walk.image if source is None else source.shape
        if isinstance(op, Conv) and op.groups == 1 and not _widens(ops, index - 1):
            reads_image = source is None and op.in_channels < STEM_CHANNELS
            source = source if source or reads_image else _image(walk)
            output = walk.new_map(output_shape(op, shape))
            activation = _activation_at(ops, index)
            walk.add(
                Step(
                    kind=Kind.STEM if reads_image else Kind.CONV,
                    name=prefix + name,
                    in_shape=shape,
                    out_shape=output.shape,
                    input=source,
                    output=output,
                    activation=activation,
                    kernel=op.kernel,
                    stride=op.stride,
                    padding=op.padding,
                    weights=prefix + name,
                    flags=Flag.SCALED if walk.pending_scale else _NONE,
                )
            )
            if walk.pending_scale and (op.kernel, op.stride) != (1, 1):
                raise UnsupportedNetwork(f"{prefix}{name}: only a 1x1 convolution may follow squeeze-and-excitation")
            walk.pending_scale = False
            source = output
            index += activation is not None
        elif isinstance(op, Conv) and (_is_depthwise(op) or op.groups == 1):
            source = source or _image(walk)
            widen, first = (op, _activation_at(ops, index)) if op.groups == 1 else (None, None)
            weights = prefix + name if widen else ""
            if widen:
                index += first is not None
                name, op = ops[index]
                assert isinstance(op, Conv)
                index += 1
            activation = _activation_at(ops, index)
            index += activation is not None
            summed = index < len(ops) and isinstance(ops[index][1], SqueezeExcite)
            wide = Shape(op.in_channels, shape.height, shape.width)
            output = walk.new_map(output_shape(op, wide))
            walk.add(
                Step(
                    kind=Kind.EXPAND_DEPTHWISE if widen else Kind.DEPTHWISE,
                    name=prefix + name,
                    in_shape=shape,
                    out_shape=output.shape,
                    input=source,
                    output=output,
                    activation=first,
                    after=activation,
                    kernel=op.kernel,
                    stride=op.stride,
                    padding=op.padding,
                    weights=weights,
                    weights2=prefix + name,
                    flags=Flag.SUMMED if summed else _NONE,
                )
            )
            source = output
        elif isinstance(op, SqueezeExcite):
            assert source is not None
            if not (walk.steps and walk.steps[-1].flags & Flag.SUMMED):
                walk.add(
                    Step(
                        kind=Kind.SUMS,
                        name=f"{prefix}{name}.sums",
                        in_shape=shape,
                        out_shape=shape,
                        input=source,
                        flags=Flag.SUMMED,
                    )
                )
            walk.add(
                Step(
                    kind=Kind.EXCITE,
                    name=prefix + name,
                    in_shape=Shape(op.channels, 1, 1),
                    out_shape=Shape(op.channels, 1, 1),
                    activation=op.activation,
                    squeezed_channels=op.squeezed_channels,
                    weights=f"{prefix}{name}.reduce",
                    weights2=f"{prefix}{name}.expand",
                )
            )
            walk.pending_scale = True
        elif isinstance(op, MaxPool):
            source = source or _image(walk)
            output = walk.new_map(output_shape(op, shape))
            walk.add(
                Step(
                    kind=Kind.MAX_POOL,
                    name=prefix + name,
                    in_shape=shape,
                    out_shape=output.shape,
                    input=source,
                    output=output,
                    kernel=op.kernel,
                    stride=op.stride,
                    padding=op.padding,
                )
            )
            source = output
        else:
            raise UnsupportedNetwork(f"{prefix}{name}: the engine has no {type(op).__name__} there")
    if walk.pending_scale:
        raise UnsupportedNetwork(f"{prefix}: a 1x1 convolution must follow squeeze-and-excitation")
    return source


def _walk_block(walk: _Walk, source: Map | None, lowered: LoweredBlock, prefix: str) -> Map | None:
    """after(branch(x) + shortcut(x)): the sum goes into the branch's last step."""
    if lowered.shortcut is None:
        return _walk_ops(walk, source, fold_norms((*lowered.branch, *lowered.after)), f"{prefix}branch.")
    source = source or _image(walk)
    shortcut = _walk_ops(walk, source, fold_norms(lowered.shortcut), f"{prefix}shortcut.")
    output = _walk_ops(walk, source, fold_norms(lowered.branch), f"{prefix}branch.")
    after = _activation_at(lowered.after, 0)
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
    source = source or _image(walk)
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
