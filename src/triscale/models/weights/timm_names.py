"""timm's names for our tensors: those of its EfficientNet class, MobileNets and MnasNets included, and its ResNets."""

from triscale.arch.blocks import Block
from triscale.arch.spec import NetworkSpec, Operator
from triscale.models.weights.names import Holder, Part, Row, map_rows

_SQUEEZE_EXCITE = {"squeeze_excite.reduce": "se.conv_reduce", "squeeze_excite.expand": "se.conv_expand"}

_EXPANDED = {
    Operator.MBCONV: {
        "expand_conv": "conv_pw",
        "expand_norm": "bn1",
        "depthwise_conv": "conv_dw",
        "depthwise_norm": "bn2",
        **_SQUEEZE_EXCITE,
        "project_conv": "conv_pwl",
        "project_norm": "bn3",
    },
    Operator.FUSED_MBCONV: {
        "expand_conv": "conv_exp",
        "expand_norm": "bn1",
        **_SQUEEZE_EXCITE,
        "project_conv": "conv_pwl",
        "project_norm": "bn2",
    },
}
_PLAIN = {
    Operator.MBCONV: {
        "depthwise_conv": "conv_dw",
        "depthwise_norm": "bn1",
        **_SQUEEZE_EXCITE,
        "project_conv": "conv_pw",
        "project_norm": "bn2",
    },
    Operator.FUSED_MBCONV: {"conv": "conv", "norm": "bn1"},
    Operator.DEPTHWISE_SEPARABLE: {
        "depthwise_conv": "conv_dw",
        "depthwise_norm": "bn1",
        "pointwise_conv": "conv_pw",
        "pointwise_norm": "bn2",
    },
}
"""timm counts batch norms from 1 in each block, and calls a block without expansion by other names."""

_RESNET = {
    Operator.BASIC: {"first_conv": "conv1", "first_norm": "bn1", "second_conv": "conv2", "second_norm": "bn2"},
    Operator.BOTTLENECK: {
        "reduce_conv": "conv1",
        "reduce_norm": "bn1",
        "spatial_conv": "conv2",
        "spatial_norm": "bn2",
        "expand_conv": "conv3",
        "expand_norm": "bn3",
    },
}
_DOWNSAMPLE = {"project_conv": "downsample.0", "project_norm": "downsample.1"}
_STEM = {"conv": "conv_stem", "norm": "bn1"}
_HEAD = {"conv": "conv_head", "norm": "bn2"}
_RESNET_STEM = {"conv": "conv1", "norm": "bn1"}


def _in_block(block: Block) -> dict[str, str]:
    expanded = block.operator in _EXPANDED and block.inner_channels != block.in_channels
    return (_EXPANDED if expanded else _PLAIN)[block.operator]


def has_resnet_layout(spec: NetworkSpec) -> bool:
    """Whether `spec` is a stem, a pool and four or fewer stages of one ResNet block, as timm and torchvision build."""
    operators = [stage.operator for stage in spec.stages]
    body = operators[2:]
    return operators[:2] == [Operator.CONV, Operator.MAX_POOL] and 0 < len(body) <= 4 and set(body) <= _RESNET.keys()


def _has_efficientnet_layout(spec: NetworkSpec) -> bool:
    first, *rest = spec.stages
    if rest and _is_head(spec, len(rest)):
        rest = rest[:-1]
    return first.operator is Operator.CONV and bool(rest) and {stage.operator for stage in rest} <= _PLAIN.keys()


def _is_head(spec: NetworkSpec, stage: int) -> bool:
    row = spec.stages[stage]
    return stage == len(spec.stages) - 1 and row.operator is Operator.CONV and row.kernel == 1 and row.stride == 1


def resnet_name(holder: Holder) -> str:
    """The module's name in timm's and torchvision's ResNets."""
    if holder.part is Part.HEAD:
        return "fc"
    if holder.stage == 0:
        return _RESNET_STEM[holder.name]
    assert holder.block is not None
    table = _DOWNSAMPLE if holder.part is Part.SHORTCUT else _RESNET[holder.block.operator]
    # The pool is a stage of ours, so the first residual stage has number 2.
    return f"layer{holder.stage - 1}.{holder.layer}.{table[holder.name]}"


def rows(spec: NetworkSpec) -> tuple[Row, ...]:
    """One row a tensor. Raises ValueError where timm has no class for such a network."""
    if has_resnet_layout(spec):
        return map_rows(spec, resnet_name)
    if not _has_efficientnet_layout(spec):
        raise ValueError(f"timm has no names for the stages of {spec.name}; it takes EfficientNet and ResNet layouts")

    def efficientnet_name(holder: Holder) -> str:
        if holder.part is Part.HEAD:
            return "classifier"
        if holder.stage == 0:
            return _STEM[holder.name]
        if _is_head(spec, holder.stage):
            return _HEAD[holder.name]
        assert holder.block is not None
        return f"blocks.{holder.stage - 1}.{holder.layer}.{_in_block(holder.block)[holder.name]}"

    return map_rows(spec, efficientnet_name)
