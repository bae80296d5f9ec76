"""Blocks to named primitive ops: the one description that cost, modules, exporters and engines all read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from triscale.arch.blocks import Block
from triscale.arch.ops import (
    Activate,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    MaxPool,
    NamedOp,
    Norm,
    SqueezeExcite,
)
from triscale.arch.spec import NetworkSpec, Operator, square

NamedOps = tuple[NamedOp, ...]


@dataclass(frozen=True, slots=True)
class LoweredBlock:
    """out = after(branch(x) + shortcut(x)); without the sum where `shortcut` is None."""

    branch: NamedOps
    shortcut: NamedOps | None = None
    """None: no residual connection. Empty: the input itself. Otherwise: the projection."""
    after: NamedOps = ()
    """What follows the sum (ResNet's last activation)."""


def _conv_norm(
    name: str,
    block: Block,
    in_channels: int,
    out_channels: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activate: bool = True,
) -> NamedOps:
    """Convolution without bias, batch norm and, unless told otherwise, the block's activation."""
    prefix = f"{name}_" if name else ""
    conv = Conv(in_channels, out_channels, kernel, stride, groups, block.padding)
    norm = Norm(out_channels, block.norm_epsilon, block.norm_momentum)
    ops: NamedOps = ((f"{prefix}conv", conv), (f"{prefix}norm", norm))
    return (*ops, (f"{prefix}activation", Activate(block.activation))) if activate else ops


def _squeeze_excite(block: Block) -> NamedOps:
    if not block.squeezed_channels:
        return ()
    return (("squeeze_excite", SqueezeExcite(block.inner_channels, block.squeezed_channels, block.activation)),)


def _lower_conv(block: Block) -> LoweredBlock:
    """Conv, norm, activation."""
    return LoweredBlock(
        _conv_norm("", block, block.in_channels, block.out_channels, kernel=block.kernel, stride=block.stride)
    )


def _lower_max_pool(block: Block) -> LoweredBlock:
    """Max pooling alone."""
    return LoweredBlock((("pool", MaxPool(block.kernel, block.stride, block.padding)),))


def _lower_mbconv(block: Block) -> LoweredBlock:
    """[expand 1x1, norm, act], depthwise, norm, act, [squeeze-excite], project 1x1, norm (MobileNetV2, MnasNet)."""
    inner = block.inner_channels
    expand = _conv_norm("expand", block, block.in_channels, inner) if inner != block.in_channels else ()
    depthwise = _conv_norm("depthwise", block, inner, inner, kernel=block.kernel, stride=block.stride, groups=inner)
    project = _conv_norm("project", block, inner, block.out_channels, activate=False)
    branch = (*expand, *depthwise, *_squeeze_excite(block), *project)
    return LoweredBlock(branch, () if block.skip else None)


def _lower_fused_mbconv(block: Block) -> LoweredBlock:
    """Expand kxk, norm, act, [squeeze-excite], project 1x1, norm; with expansion 1 only kxk, norm, act."""
    inner, outputs = block.inner_channels, block.out_channels
    # Squeeze-and-excitation needs the expansion even where a base makes it as wide as the input.
    expands = inner != block.in_channels or block.squeezed_channels > 0
    first = _conv_norm(
        "expand" if expands else "",
        block,
        block.in_channels,
        inner if expands else outputs,
        kernel=block.kernel,
        stride=block.stride,
    )
    project = _conv_norm("project", block, inner, outputs, activate=False) if expands else ()
    return LoweredBlock((*first, *_squeeze_excite(block), *project), () if block.skip else None)


def _lower_depthwise_separable(block: Block) -> LoweredBlock:
    """Depthwise, norm, act, pointwise, norm, act (MobileNetV1, Table 1)."""
    inputs = block.in_channels
    depthwise = _conv_norm("depthwise", block, inputs, inputs, kernel=block.kernel, stride=block.stride, groups=inputs)
    return LoweredBlock((*depthwise, *_conv_norm("pointwise", block, inputs, block.out_channels)))


def _resnet_shortcut(block: Block) -> NamedOps:
    if block.skip:
        return ()
    return _conv_norm("project", block, block.in_channels, block.out_channels, stride=block.stride, activate=False)


def _lower_basic(block: Block) -> LoweredBlock:
    """kxk, norm, act, kxk, norm, plus shortcut, act (ResNet, Figure 5 left)."""
    outputs, kernel = block.out_channels, block.kernel
    first = _conv_norm("first", block, block.in_channels, outputs, kernel=kernel, stride=block.stride)
    second = _conv_norm("second", block, outputs, outputs, kernel=kernel, activate=False)
    return LoweredBlock((*first, *second), _resnet_shortcut(block), (("activation", Activate(block.activation)),))


def _lower_bottleneck(block: Block) -> LoweredBlock:
    """1x1, norm, act, kxk, norm, act, 1x1, norm, plus shortcut, act (ResNet, Figure 5 right).

    The stride sits in the kxk convolution, as in every released ResNet since 2016, not in the first 1x1.
    """
    inner = block.inner_channels
    reduce = _conv_norm("reduce", block, block.in_channels, inner)
    spatial = _conv_norm("spatial", block, inner, inner, kernel=block.kernel, stride=block.stride)
    expand = _conv_norm("expand", block, inner, block.out_channels, activate=False)
    after = (("activation", Activate(block.activation)),)
    return LoweredBlock((*reduce, *spatial, *expand), _resnet_shortcut(block), after)


_LOWERING: dict[Operator, Callable[[Block], LoweredBlock]] = {
    Operator.CONV: _lower_conv,
    Operator.MBCONV: _lower_mbconv,
    Operator.FUSED_MBCONV: _lower_fused_mbconv,
    Operator.DEPTHWISE_SEPARABLE: _lower_depthwise_separable,
    Operator.BASIC: _lower_basic,
    Operator.BOTTLENECK: _lower_bottleneck,
    Operator.MAX_POOL: _lower_max_pool,
}


@lru_cache(maxsize=65536)
def _lower(block: Block) -> LoweredBlock:
    return _LOWERING[block.operator](block)


def lower(block: Block) -> LoweredBlock:
    """The named ops of one block, in execution order. They do not depend on its resolution."""
    return _lower(block.at(square(1)))


def lower_head(spec: NetworkSpec) -> NamedOps:
    """Global pooling, dropout and the classifier; no classifier where the spec has no classes."""
    pool: NamedOps = (("pool", GlobalPool()), ("dropout", Dropout(spec.dropout)))
    return (*pool, ("classifier", Linear(spec.features, spec.classes))) if spec.classes else pool


def fold_norms(ops: Iterable[NamedOp]) -> NamedOps:
    """The same ops for inference: each norm merged into the convolution before it, which gains a bias."""
    folded: list[NamedOp] = []
    for name, op in ops:
        if isinstance(op, Norm):
            conv_name, conv = folded[-1]
            assert isinstance(conv, Conv), f"{name} does not follow a convolution"
            folded[-1] = conv_name, replace(conv, bias=True)
        elif not isinstance(op, Dropout):
            folded.append((name, op))
    return tuple(folded)
