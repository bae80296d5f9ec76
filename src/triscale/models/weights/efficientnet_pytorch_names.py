"""Names of the PyPI packages efficientnet-pytorch and efficientnet-lite-pytorch, which share one set."""

from functools import lru_cache

from triscale.arch.spec import NetworkSpec, Operator
from triscale.arch.zoo import get_network
from triscale.models.weights.names import Holder, Part, Row, map_rows

_STEM = {"conv": "_conv_stem", "norm": "_bn0"}
_HEAD = {"conv": "_conv_head", "norm": "_bn1"}
_BLOCK = {
    "expand_conv": "_expand_conv",
    "expand_norm": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_norm": "_bn1",
    "squeeze_excite.reduce": "_se_reduce",
    "squeeze_excite.expand": "_se_expand",
    "project_conv": "_project_conv",
    "project_norm": "_bn2",
}
_SIZES = (*(f"b{n}" for n in range(9)), "l2", *(f"lite{n}" for n in range(5)))


def _name(holder: Holder) -> str:
    if holder.part is Part.HEAD:
        return "_fc"
    assert holder.block is not None
    if holder.block.operator is Operator.CONV:
        return (_STEM if holder.stage == 0 else _HEAD)[holder.name]
    # The stem is a block of ours, so the first MBConv has number 1.
    return f"_blocks.{holder.block_number - 1}.{_BLOCK[holder.name]}"


def rows(spec: NetworkSpec) -> tuple[Row, ...]:
    """One row a tensor. Raises ValueError for anything but a stem, MBConv stages and a last 1x1 convolution."""
    operators = [stage.operator for stage in spec.stages]
    ends = [operators[0], operators[-1]]
    if len(operators) < 3 or ends != [Operator.CONV] * 2 or set(operators[1:-1]) != {Operator.MBCONV}:
        raise ValueError(f"efficientnet-pytorch knows EfficientNet B0-B8, L2 and Lite layouts; {spec.name} is another")
    return map_rows(spec, _name)


@lru_cache
def networks() -> tuple[NetworkSpec, ...]:
    """Every network the two packages build; padding and batch norm are the authors', as in our zoo."""
    return tuple(get_network(f"efficientnet-{size}") for size in _SIZES)
