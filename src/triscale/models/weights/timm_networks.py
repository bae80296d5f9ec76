"""timm's models as specs: which of our networks each is, and how its padding and batch norm differ."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from triscale.arch.coefficients import Coefficients
from triscale.arch.rounding import ChannelRounding
from triscale.arch.rows import bottleneck, conv, fused_mbconv, mbconv
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec, Padding, Stage, square
from triscale.arch.zoo import get_network

TF_EPSILON = 1e-3
TORCH_EPSILON = 1e-5
TORCH_MOMENTUM = 0.1


@dataclass(frozen=True, slots=True)
class TimmNetwork:
    """One of timm's models."""

    name: str
    base: Callable[[], NetworkSpec]
    """The network before padding and batch norm are set."""
    padding: Padding
    norm_epsilon: float

    def spec(self) -> NetworkSpec:
        """The network as timm builds it. Dropout and stochastic depth, which timm leaves to its users, stay ours."""
        return replace(
            self.base(),
            name=self.name,
            padding=self.padding,
            norm_epsilon=self.norm_epsilon,
            norm_momentum=TORCH_MOMENTUM,
        )


def _wider(name: str, width: float, *, head: int | None = None) -> NetworkSpec:
    """The zoo's `name` with its width scaled; `head` fixes the channels of the last convolution."""
    scaled = scale(get_network(name), Coefficients(width=width))
    *rest, last = scaled.stages
    return scaled if head is None else replace(scaled, stages=(*rest, replace(last, channels=head)))


def _deep_mobilenetv2(*, depth: float, width: float) -> NetworkSpec:
    """timm's own 110d and 120d: stem, head and the first and last stage's layers do not scale."""
    baseline = get_network("mobilenetv2")
    stem, first, *middle, last, head = baseline.stages
    fixed = replace(
        baseline,
        stages=(
            replace(stem, scale_width=False),
            replace(first, scale_depth=False),
            *middle,
            replace(last, scale_depth=False),
            replace(head, scale_width=False),
        ),
    )
    return scale(fixed, Coefficients(depth=depth, width=width))


def _with_stages(name: str, *stages: Stage) -> NetworkSpec:
    return replace(get_network(name), stages=stages)


def _mobilenetv1_with_head() -> NetworkSpec:
    return _with_stages("mobilenetv1", *get_network("mobilenetv1").stages, conv(1, 1, 1024))


def _resnet26() -> NetworkSpec:
    stem = get_network("resnet50").stages[:2]
    rows = (bottleneck(3, stride, 4, channels, 2) for stride, channels in ((1, 256), (2, 512), (2, 1024), (2, 2048)))
    return _with_stages("resnet50", *stem, *rows)


def _mnasnet_small() -> NetworkSpec:
    return _with_stages(
        "mnasnet-b1",
        conv(3, 2, 8),
        #      k  s  e  channels layers
        mbconv(3, 1, 1, 8, 1),
        mbconv(3, 2, 3, 16, 1),
        mbconv(3, 2, 6, 16, 2),
        mbconv(5, 2, 6, 32, 4, se_ratio=0.25),
        mbconv(3, 1, 6, 32, 3, se_ratio=0.25),
        mbconv(5, 2, 6, 88, 3, se_ratio=0.25),
        mbconv(3, 1, 6, 144, 1),
        conv(1, 1, 1280),
    )


def _efficientnetv2_xl() -> NetworkSpec:
    network = _with_stages(
        "efficientnetv2-l",
        conv(3, 2, 32),
        #            k  s  e  channels layers
        fused_mbconv(3, 1, 1, 32, 4),
        fused_mbconv(3, 2, 4, 64, 8),
        fused_mbconv(3, 2, 4, 96, 8),
        mbconv(3, 2, 4, 192, 16, se_ratio=0.25),
        mbconv(3, 1, 6, 256, 24, se_ratio=0.25),
        mbconv(3, 2, 6, 512, 32, se_ratio=0.25),
        mbconv(3, 1, 6, 640, 8, se_ratio=0.25),
        conv(1, 1, 1280),
    )
    return replace(network, resolution=square(512))


def _efficientnetv2_rw_t() -> NetworkSpec:
    """timm's own V2-S scaled by 0.9 and 0.8, which keeps the 90% floor of V1 when rounding."""
    baseline = replace(get_network("efficientnetv2-s"), resolution=square(288), rounding=ChannelRounding())
    return scale(baseline, Coefficients(depth=0.9, width=0.8))


def _test_efficientnet() -> NetworkSpec:
    network = _with_stages(
        "efficientnetv2-b0",
        conv(3, 2, 24),
        #            k  s  e  channels layers
        fused_mbconv(3, 1, 1, 16, 1),
        fused_mbconv(3, 2, 4, 24, 1),
        fused_mbconv(3, 2, 4, 32, 1),
        mbconv(3, 2, 4, 48, 1, se_ratio=0.25),
        mbconv(3, 2, 4, 64, 1, se_ratio=0.25),
        conv(1, 1, 256),
    )
    return replace(network, resolution=square(160))


def _zoo(name: str) -> Callable[[], NetworkSpec]:
    return lambda: get_network(name)


_EFFICIENTNETS = {f"efficientnet_{size}": _zoo(f"efficientnet-{size}") for size in (*(f"b{n}" for n in range(9)), "l2")}
_LITES = {f"efficientnet_lite{n}": _zoo(f"efficientnet-lite{n}") for n in range(5)}
_EDGETPUS = {f"efficientnet_e{size}": _zoo(f"efficientnet-edgetpu-{size}") for size in "sml"}
_V2 = {f"efficientnetv2_{size}": _zoo(f"efficientnetv2-{size}") for size in "sml"} | {
    "efficientnetv2_xl": _efficientnetv2_xl
}
_V2_BASE = {f"efficientnetv2_b{n}": _zoo(f"efficientnetv2-b{n}") for n in range(4)}

_TENSORFLOW: Mapping[str, Callable[[], NetworkSpec]] = {
    f"tf_{name}": base for name, base in (_EFFICIENTNETS | _LITES | _EDGETPUS | _V2 | _V2_BASE).items()
}
"""Weights of the authors' TensorFlow code: SAME padding, epsilon 1e-3."""

_PYTORCH: Mapping[str, Callable[[], NetworkSpec]] = {
    **_EFFICIENTNETS,
    **_LITES,
    **_EDGETPUS,
    "efficientnet_es_pruned": _zoo("efficientnet-edgetpu-s"),
    "efficientnet_el_pruned": _zoo("efficientnet-edgetpu-l"),
    **_V2,
    "efficientnetv2_rw_t": _efficientnetv2_rw_t,
    "mobilenetv1_100": _zoo("mobilenetv1"),
    "mobilenetv1_100h": _mobilenetv1_with_head,
    "mobilenetv1_125": lambda: _wider("mobilenetv1", 1.25),
    "mobilenetv2_035": _zoo("mobilenetv2-w0.35"),
    "mobilenetv2_050": _zoo("mobilenetv2-w0.5"),
    "mobilenetv2_075": _zoo("mobilenetv2-w0.75"),
    "mobilenetv2_100": _zoo("mobilenetv2"),
    "mobilenetv2_110d": lambda: _deep_mobilenetv2(depth=1.2, width=1.1),
    "mobilenetv2_120d": lambda: _deep_mobilenetv2(depth=1.4, width=1.2),
    "mobilenetv2_140": _zoo("mobilenetv2-w1.4"),
    "mnasnet_050": lambda: _wider("mnasnet-b1", 0.5, head=1280),
    "mnasnet_075": lambda: _wider("mnasnet-b1", 0.75, head=1280),
    "mnasnet_100": _zoo("mnasnet-b1"),
    "mnasnet_140": lambda: _wider("mnasnet-b1", 1.4, head=1280),
    "mnasnet_small": _mnasnet_small,
    "semnasnet_050": lambda: _wider("mnasnet-a1", 0.5, head=1280),
    "semnasnet_075": lambda: _wider("mnasnet-a1", 0.75, head=1280),
    "semnasnet_100": _zoo("mnasnet-a1"),
    "semnasnet_140": lambda: _wider("mnasnet-a1", 1.4, head=1280),
    "resnet18": _zoo("resnet18"),
    "resnet26": _resnet26,
    "resnet34": _zoo("resnet34"),
    "resnet50": _zoo("resnet50"),
    "resnet101": _zoo("resnet101"),
    "resnet152": _zoo("resnet152"),
    "resnet200": _zoo("resnet200"),
    "test_efficientnet": _test_efficientnet,
}
"""timm's own definitions: symmetric padding, epsilon 1e-5."""

_REFUSED: Mapping[str, str] = {
    "efficientnetv2_rw_s": "a first stage with projections that the paper does not have",
    "efficientnetv2_rw_m": "a first stage with projections that the paper does not have",
}
_REFUSED_PARTS: tuple[tuple[str, str], ...] = (
    ("_gn", "group normalisation instead of batch normalisation"),
    ("_evos", "evolved normalisation instead of batch normalisation"),
    ("_ln", "layer normalisation instead of batch normalisation"),
    ("_pruned", "channel counts pruned one by one"),
    ("_cc_", "conditional convolutions"),
    ("efficientnet_x_", "EfficientNet-X's blocks"),
    ("efficientnet_h_", "EfficientNet-H's blocks"),
    ("gc_", "global context attention"),
    ("blur", "anti-aliased downsampling"),
    ("resnetaa", "anti-aliased downsampling"),
    ("resnetrs", "another stem and shortcut, and squeeze-and-excitation"),
    ("resnetv2", "normalisation before each convolution"),
    ("resnet", "another stem or shortcut than the ResNet paper's"),
)


@lru_cache
def _networks() -> dict[str, NetworkSpec]:
    rows = [TimmNetwork(n, base, Padding.SYMMETRIC, TORCH_EPSILON) for n, base in _PYTORCH.items()]
    rows += [TimmNetwork(n, base, Padding.SAME, TF_EPSILON) for n, base in _TENSORFLOW.items()]
    return {row.name: row.spec() for row in rows}


def networks() -> tuple[NetworkSpec, ...]:
    """Every model of timm's that has a spec, under timm's name."""
    return tuple(_networks().values())


def timm_names() -> tuple[str, ...]:
    """The name of every model of timm's that has a spec."""
    return tuple(_networks())


def timm_spec(name: str) -> NetworkSpec:
    """The spec of timm's model `name`; a tag after a dot (`efficientnet_b0.ra_in1k`) names its weights and is ignored.

    Raises ValueError, with the reason where one is known, for a model that differs in structure or is unknown.
    """
    architecture = name.partition(".")[0]
    network = _networks().get(architecture)
    if network is not None:
        return network
    reason = _REFUSED.get(architecture) or next((why for part, why in _REFUSED_PARTS if part in architecture), None)
    if reason:
        raise ValueError(f"timm's {architecture} has {reason}, which Triscale's networks do not; use timm for it")
    near = difflib.get_close_matches(architecture, _networks(), n=3)
    hint = "did you mean " + " or ".join(near) + "?" if near else "Triscale reads " + ", ".join(_FAMILIES)
    raise ValueError(f"Triscale has no network like timm's {architecture!r}; {hint}")


_FAMILIES = ("efficientnet_*", "tf_efficientnet_*", "mobilenetv1_*", "mobilenetv2_*", "mnasnet_*", "resnet*")


def same_function(one: NetworkSpec, other: NetworkSpec) -> bool:
    """Whether equal weights give equal logits: everything but names, resolution and what only training reads."""
    return _function(one) == _function(other)


def _function(spec: NetworkSpec) -> NetworkSpec:
    stages = tuple(replace(s, scale_depth=True, scale_width=True, minimum_channels=1) for s in spec.stages)
    return replace(
        spec,
        name="network",
        resolution=square(1),
        stages=stages,
        norm_momentum=0.0,
        dropout=0.0,
        stochastic_depth_rate=0.0,
        rounding=ChannelRounding(),
    )


def timm_name(spec: NetworkSpec) -> str | None:
    """The timm model that computes what `spec` does, whatever its classes and input channels; None without one."""
    like = (replace(c, classes=spec.classes, input_channels=spec.input_channels) for c in networks())
    return next((candidate.name for candidate in like if same_function(candidate, spec)), None)
