"""torchvision's models as specs, and its names for our tensors.

torchvision pads symmetrically everywhere. Its batch norms keep PyTorch's epsilon of 1e-5 except in EfficientNet B5-B7
and EfficientNetV2, whose weights came from TensorFlow or were trained like them.
"""

import difflib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from torch import Tensor

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import Activation, NetworkSpec, Operator, Padding
from triscale.arch.zoo import get_network
from triscale.models.weights.names import Holder, Part, Row, map_rows
from triscale.models.weights.timm_names import has_resnet_layout, resnet_name
from triscale.models.weights.timm_networks import same_function

_MNASNET_MOMENTUM = 3e-4
"""torchvision takes the 0.9997 of an early MnasNet preprint for the batch norms' decay."""


@dataclass(frozen=True, slots=True)
class _TorchvisionNetwork:
    """One of torchvision's models."""

    name: str
    base: str
    """Its name in the zoo, before padding and batch norm are set."""
    norm_epsilon: float
    norm_momentum: float
    width: float = 1.0

    def spec(self) -> NetworkSpec:
        spec = get_network(self.base)
        if self.width != 1:
            # The last convolution keeps its 1280 channels, in wide MNASNets as well.
            *rest, last = scale(spec, Coefficients(width=self.width)).stages
            spec = replace(spec, stages=(*rest, replace(last, channels=spec.features)))
        return replace(
            spec,
            name=self.name,
            padding=Padding.SYMMETRIC,
            norm_epsilon=self.norm_epsilon,
            norm_momentum=self.norm_momentum,
        )


_NETWORKS = (
    #                   name                 zoo                 epsilon momentum
    *(_TorchvisionNetwork(f"efficientnet_b{n}", f"efficientnet-b{n}", 1e-5, 0.1) for n in range(5)),
    *(_TorchvisionNetwork(f"efficientnet_b{n}", f"efficientnet-b{n}", 1e-3, 0.01) for n in range(5, 8)),
    *(_TorchvisionNetwork(f"efficientnet_v2_{size}", f"efficientnetv2-{size}", 1e-3, 0.1) for size in "sml"),
    _TorchvisionNetwork("mobilenet_v2", "mobilenetv2", 1e-5, 0.1),
    *(_TorchvisionNetwork(f"resnet{depth}", f"resnet{depth}", 1e-5, 0.1) for depth in (18, 34, 50, 101, 152)),
    _TorchvisionNetwork("mnasnet0_5", "mnasnet-b1", 1e-5, _MNASNET_MOMENTUM, width=0.5),
    _TorchvisionNetwork("mnasnet0_75", "mnasnet-b1", 1e-5, _MNASNET_MOMENTUM, width=0.75),
    _TorchvisionNetwork("mnasnet1_0", "mnasnet-b1", 1e-5, _MNASNET_MOMENTUM),
    _TorchvisionNetwork("mnasnet1_3", "mnasnet-b1", 1e-5, _MNASNET_MOMENTUM, width=1.3),
)


def torchvision_names() -> tuple[str, ...]:
    """Every torchvision model that has a spec."""
    return tuple(network.name for network in _NETWORKS)


def torchvision_spec(name: str) -> NetworkSpec:
    """The spec of torchvision's model `name`, as version 2 of its classes builds it.

    MNASNet weights that torchvision saved before 2019-09 have an unscaled stem and are another network.
    Raises ValueError with the nearest names for a model that is none of ours.
    """
    for network in _NETWORKS:
        if network.name == name:
            return network.spec()
    near = difflib.get_close_matches(name, torchvision_names(), n=3)
    hint = "did you mean " + " or ".join(near) + "?" if near else "Triscale reads " + ", ".join(torchvision_names())
    raise ValueError(f"Triscale has no network like torchvision's {name!r}; {hint}")


@lru_cache
def torchvision_name(spec: NetworkSpec) -> str | None:
    """The torchvision model that computes what `spec` does, whatever its classes; None without one."""
    candidates = (network.spec() for network in _NETWORKS)
    return next((c.name for c in candidates if same_function(replace(c, classes=spec.classes), spec)), None)


_EFFICIENTNET_BLOCK = {
    "expand_conv": "expand.0",
    "expand_norm": "expand.1",
    "depthwise_conv": "depthwise.0",
    "depthwise_norm": "depthwise.1",
    "squeeze_excite.reduce": "squeeze_excite.fc1",
    "squeeze_excite.expand": "squeeze_excite.fc2",
    "project_conv": "project.0",
    "project_norm": "project.1",
    "conv": "only.0",
    "norm": "only.1",
}
"""Names of the layers in an EfficientNet block, which torchvision numbers instead, and of the tensors in them."""

_EFFICIENTNET_LAYERS = {
    (Operator.MBCONV, True): ("expand", "depthwise", "squeeze_excite", "project"),
    (Operator.MBCONV, False): ("depthwise", "squeeze_excite", "project"),
    (Operator.FUSED_MBCONV, True): ("expand", "project"),
    (Operator.FUSED_MBCONV, False): ("only",),
}
"""By operator and whether the block expands."""

_MOBILENETV2_BLOCK = {
    True: {
        "expand_conv": "0.0",
        "expand_norm": "0.1",
        "depthwise_conv": "1.0",
        "depthwise_norm": "1.1",
        "project_conv": "2",
        "project_norm": "3",
    },
    False: {"depthwise_conv": "0.0", "depthwise_norm": "0.1", "project_conv": "1", "project_norm": "2"},
}

_MNASNET_BLOCK = {
    "expand_conv": "0",
    "expand_norm": "1",
    "depthwise_conv": "3",
    "depthwise_norm": "4",
    "project_conv": "6",
    "project_norm": "7",
}
"""Activations are counted too. The first block lacks an expansion, and its numbers follow on from the stem's."""

_CONV_NORM = {"conv": 0, "norm": 1}


def _expands(holder: Holder) -> bool:
    assert holder.block is not None
    return holder.block.inner_channels != holder.block.in_channels


def _is_plain(holder: Holder) -> bool:
    """Whether it belongs to the stem or the last convolution."""
    assert holder.block is not None
    return holder.block.operator is Operator.CONV


def _efficientnet_name(holder: Holder) -> str:
    if holder.part is Part.HEAD:
        return "classifier.1"
    if _is_plain(holder):
        return f"features.{holder.stage}.{_CONV_NORM[holder.name]}"
    assert holder.block is not None
    layer, _, tensor = _EFFICIENTNET_BLOCK[holder.name].partition(".")
    number = _EFFICIENTNET_LAYERS[holder.block.operator, _expands(holder)].index(layer)
    return f"features.{holder.stage}.{holder.layer}.block.{number}.{tensor}"


def _mobilenetv2_name(holder: Holder) -> str:
    if holder.part is Part.HEAD:
        return "classifier.1"
    if _is_plain(holder):
        return f"features.{holder.block_number}.{_CONV_NORM[holder.name]}"
    return f"features.{holder.block_number}.conv.{_MOBILENETV2_BLOCK[_expands(holder)][holder.name]}"


def _mnasnet_name(holder: Holder) -> str:
    if holder.part is Part.HEAD:
        return "classifier.1"
    if holder.stage < 2:
        return f"layers.{_CONV_NORM[holder.name] if holder.stage == 0 else _MNASNET_BLOCK[holder.name]}"
    if _is_plain(holder):
        return f"layers.{holder.stage + 6 + _CONV_NORM[holder.name]}"
    return f"layers.{holder.stage + 6}.{holder.layer}.layers.{_MNASNET_BLOCK[holder.name]}"


def _layout(spec: NetworkSpec) -> Callable[[Holder], str] | None:
    """How torchvision names the parts of such a network; None where it has no class for it."""
    if has_resnet_layout(spec):
        return resnet_name
    first, *middle, last = spec.stages
    body = {stage.operator for stage in middle}
    squeezes = {bool(stage.se_ratio) for stage in middle if stage.operator is Operator.MBCONV}
    if (first.operator, last.operator, last.kernel) != (Operator.CONV, Operator.CONV, 1) or not body:
        return None
    if spec.activation is Activation.SILU and body <= {Operator.MBCONV, Operator.FUSED_MBCONV} and squeezes <= {True}:
        fused_squeezes = any(stage.se_ratio for stage in middle if stage.operator is Operator.FUSED_MBCONV)
        return None if fused_squeezes else _efficientnet_name
    if body != {Operator.MBCONV} or squeezes != {False}:
        return None
    if spec.activation is Activation.RELU6:
        return _mobilenetv2_name
    separable, *expanding = middle
    is_mnasnet = (separable.expansion, separable.layers) == (1, 1) and all(s.expansion > 1 for s in expanding)
    return _mnasnet_name if spec.activation is Activation.RELU and is_mnasnet else None


def rows(spec: NetworkSpec) -> tuple[Row, ...]:
    """One row a tensor. Raises ValueError where torchvision has no class for such a network."""
    name = _layout(spec)
    if name is None:
        raise ValueError(
            f"torchvision has no names for the stages of {spec.name}; it takes EfficientNet, EfficientNetV2,"
            " MobileNetV2, MNASNet and ResNet layouts"
        )
    return map_rows(spec, name)


def loadable(state: Mapping[str, Tensor]) -> "OrderedDict[str, Tensor]":
    """A state dict under torchvision's names as its MNASNet loads it.

    That class refuses a state dict without the version that `state_dict()` and `torch.save` carry along; the others
    take either.
    """
    versioned = OrderedDict(state)
    versioned._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    return versioned
