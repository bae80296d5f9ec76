"""Keras Applications' EfficientNets as specs, and Keras's names for our tensors.

A tensor is called `layer/variable`, as Keras calls it. Files of Keras 3 number the layers of each class instead
(`layers/conv2d_4/vars/0`), in the order in which images pass through them; `positions` maps those numbers to names.
"""

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from triscale.arch.ops import Conv, Linear, Norm
from triscale.arch.spec import NetworkSpec, Operator
from triscale.arch.zoo import get_network
from triscale.models.weights.names import Holder, Leaf, Part, Row, Transform, holders, map_rows
from triscale.models.weights.timm_networks import same_function

CLASSIFIER = "predictions"
STEM_KERNEL = "stem_conv/kernel"

_V1_MOMENTUM = 0.01
_V2_MOMENTUM = 0.1
"""Keras says 0.99 and 0.9: what the running statistics keep."""


@dataclass(frozen=True, slots=True)
class _KerasNetwork:
    """One of Keras Applications' models; both families pad as TensorFlow does, with epsilon 1e-3."""

    name: str
    """Of the model itself, which its files carry."""
    zoo: str
    norm_momentum: float
    dropout: float

    def spec(self) -> NetworkSpec:
        zoo = get_network(self.zoo)
        return replace(zoo, name=self.name, norm_momentum=self.norm_momentum, dropout=self.dropout)


_V1_DROPOUT = (0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5)
_NETWORKS = (
    *(
        _KerasNetwork(f"efficientnetb{number}", f"efficientnet-b{number}", _V1_MOMENTUM, dropout)
        for number, dropout in enumerate(_V1_DROPOUT)
    ),
    *(
        _KerasNetwork(f"efficientnetv2-{size}", f"efficientnetv2-{size}", _V2_MOMENTUM, 0.2)
        for size in ("b0", "b1", "b2", "b3", "s", "m", "l")
    ),
)


def keras_names() -> tuple[str, ...]:
    """Every model of Keras Applications that has a spec."""
    return tuple(network.name for network in _NETWORKS)


def keras_spec(name: str) -> NetworkSpec:
    """The spec of Keras's model `name`; its class's name, `EfficientNetV2B0`, does too.

    Raises ValueError with the nearest names for a model that is none of ours.
    """
    plain = name.lower().replace("-", "").replace("_", "")
    for network in _NETWORKS:
        if network.name.replace("-", "") == plain:
            return network.spec()
    near = difflib.get_close_matches(plain, keras_names(), n=3)
    hint = "did you mean " + " or ".join(near) + "?" if near else "Triscale reads " + ", ".join(keras_names())
    raise ValueError(f"Triscale has no network like Keras's {name!r}; {hint}")


@lru_cache
def networks() -> tuple[NetworkSpec, ...]:
    """Every such model, with its classifier and (`include_top=False`) without."""
    specs = [network.spec() for network in _NETWORKS]
    return (*specs, *(replace(spec, classes=0) for spec in specs))


@lru_cache
def keras_name(spec: NetworkSpec) -> str | None:
    """The model that computes what `spec` does, whatever its classes and input channels; None without one."""
    like = (replace(c, classes=spec.classes, input_channels=spec.input_channels) for c in networks())
    return next((candidate.name for candidate in like if same_function(candidate, spec)), None)


_STEM = {"conv": "stem_conv", "norm": "stem_bn"}
_HEAD = {"conv": "top_conv", "norm": "top_bn"}
_BLOCK = {
    "expand_conv": "expand_conv",
    "expand_norm": "expand_bn",
    "depthwise_norm": "bn",
    "squeeze_excite.reduce": "se_reduce",
    "squeeze_excite.expand": "se_expand",
    "project_conv": "project_conv",
    "project_norm": "project_bn",
    # A fused block without expansion is a projection to Keras.
    "conv": "project_conv",
    "norm": "project_bn",
}

_NORM_LEAVES = (
    Leaf("weight", "gamma"),
    Leaf("bias", "beta"),
    Leaf("running_mean", "moving_mean"),
    Leaf("running_var", "moving_variance"),
)


def _is_depthwise(op: Conv | Norm | Linear) -> bool:
    return isinstance(op, Conv) and op.groups > 1


def _leaves(op: Conv | Norm | Linear) -> tuple[Leaf, ...]:
    """In the order in which Keras numbers them."""
    if isinstance(op, Norm):
        return _NORM_LEAVES
    if isinstance(op, Linear):
        return (Leaf("weight", "kernel", Transform.TRANSPOSED), Leaf("bias", "bias"))
    kernel = Leaf("weight", "kernel", Transform.HWC1 if _is_depthwise(op) else Transform.HWIO)
    return (kernel, Leaf("bias", "bias")) if op.bias else (kernel,)


def _has_layout(spec: NetworkSpec) -> bool:
    first, *middle, last = (stage.operator for stage in spec.stages)
    return (
        (first, last) == (Operator.CONV, Operator.CONV)
        and spec.stages[-1].kernel == 1
        and bool(middle)
        and set(middle) <= {Operator.MBCONV, Operator.FUSED_MBCONV}
    )


def is_v2(spec: NetworkSpec) -> bool:
    """Whether Keras would build `spec` by its EfficientNetV2 class."""
    return any(stage.operator is Operator.FUSED_MBCONV for stage in spec.stages)


def _layer_names(spec: NetworkSpec) -> tuple[tuple[Holder, str], ...]:
    """Every op that holds tensors with its layer's name. Raises ValueError where Keras has no such network."""
    if not _has_layout(spec):
        raise ValueError(
            f"Keras has no names for the stages of {spec.name}; it takes EfficientNet and EfficientNetV2 layouts"
        )
    # The two families differ in this name alone.
    block_names = _BLOCK | {"depthwise_conv": "dwconv2" if is_v2(spec) else "dwconv"}

    def name(holder: Holder) -> str:
        if holder.part is Part.HEAD:
            return CLASSIFIER
        if holder.stage in (0, len(spec.stages) - 1):
            return (_STEM if holder.stage == 0 else _HEAD)[holder.name]
        # Keras counts layers by letter, and goes on after z where the alphabet of its encoding does.
        return f"block{holder.stage}{chr(ord('a') + holder.layer)}_{block_names[holder.name]}"

    return tuple((holder, name(holder)) for holder in holders(spec))


def rows(spec: NetworkSpec) -> tuple[Row, ...]:
    """One row a tensor. Raises ValueError where Keras has no such network."""
    names = {holder.ours: name for holder, name in _layer_names(spec)}
    return map_rows(spec, lambda holder: names[holder.ours], leaves=_leaves, separator="/")


def _class(op: Conv | Norm | Linear) -> str:
    """What Keras 3's files call a layer that has no number."""
    if isinstance(op, Norm):
        return "batch_normalization"
    if isinstance(op, Linear):
        return "dense"
    return "depthwise_conv2d" if _is_depthwise(op) else "conv2d"


@lru_cache(maxsize=64)
def positions(spec: NetworkSpec) -> Mapping[str, str]:
    """Where Keras 3's files keep each tensor of `rows(spec)`: `conv2d_4/0` for the layer and the variable's number."""
    counts: Counter[str] = Counter()
    found = {}
    for holder, name in _layer_names(spec):
        kind = _class(holder.op)
        layer = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        for number, leaf in enumerate(_leaves(holder.op)):
            found[f"{layer}/{number}"] = f"{name}/{leaf.theirs}"
    return found


def layer_names(spec: NetworkSpec) -> Mapping[str, str]:
    """Each layer that holds tensors, by its number in Keras 3's files: `conv2d_4` to `block2a_expand_conv`."""
    return {position.partition("/")[0]: name.partition("/")[0] for position, name in positions(spec).items()}
