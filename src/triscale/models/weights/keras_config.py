"""What Keras's own description of a model says: how it normalises its images, and whether it is an EfficientNet at all.

A description is data. Nothing in it is instantiated, so nothing in it can run.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triscale.arch.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocessing
from triscale.arch.spec import NetworkSpec, Resolution
from triscale.models.weights.keras_names import is_v2, keras_name

LARGEST_VALUE = 255.0
"""Keras's EfficientNets take pixels as files have them, and normalise them inside."""
_NEAR = 2e-3

_CONTAINERS = frozenset({"Functional", "Model", "Sequential"})
_HARMLESS = frozenset(
    {
        *("InputLayer", "Rescaling", "Normalization", "ZeroPadding2D", "Conv2D", "DepthwiseConv2D", "Dense"),
        *("BatchNormalization", "Activation", "GlobalAveragePooling2D", "Reshape", "Multiply", "Add", "Dropout"),
        # An old name of Dropout here, a cast that mixed precision adds, and layers that only training runs.
        *("FixedDropout", "Cast", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast"),
        *("RandomBrightness", "RandomCrop", "RandomHeight", "RandomWidth"),
    }
)
_NORMALISING = frozenset({"Rescaling", "Normalization"})
_SILU = frozenset({"swish", "silu"})


@dataclass(frozen=True, slots=True)
class Moments:
    """The weights of a Normalization layer; (x - mean) / sqrt(variance)."""

    mean: tuple[float, ...]
    variance: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Affine:
    """x * scale + offset, channel by channel, of pixels in 0..255."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def then(self, scale: Sequence[float], offset: Sequence[float]) -> "_Affine":
        """This, then another; one value stands for all channels."""
        channels = max(len(self.scale), len(scale), len(offset))
        mine, other = [_spread(v, channels) for v in (self.scale, self.offset)], _spread(scale, channels)
        return _Affine(
            tuple(s * a for s, a in zip(mine[0], other, strict=True)),
            tuple(o * a + b for o, a, b in zip(mine[1], other, _spread(offset, channels), strict=True)),
        )


def _spread(values: Sequence[float], channels: int) -> tuple[float, ...]:
    values = tuple(values) * channels if len(values) == 1 else tuple(values)
    if len(values) != channels:
        raise ValueError(f"it normalises {len(values)} channels, then {channels}")
    return values


def _numbers(value: Any, name: str) -> tuple[float, ...]:
    """One number, or a possibly nested list of them."""
    if isinstance(value, list) and len(value) <= 64:
        return tuple(number for item in value for number in _numbers(item, name))
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return (float(value),)
    raise ValueError(f"its {name} is no finite number")


def layers(config: Mapping[str, Any], *, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every layer's class and settings, those of nested models in their place.

    Raises ValueError for a description that is not one of layers.
    """
    settings, kind = config.get("config"), config.get("class_name")
    if not isinstance(settings, Mapping) or not isinstance(kind, str) or depth > 8:
        raise ValueError("its description is not one of layers")
    if kind not in _CONTAINERS:
        yield kind, settings
        return
    for layer in settings.get("layers", ()):
        if not isinstance(layer, Mapping):
            raise ValueError("its description is not one of layers")
        yield from layers(layer, depth=depth + 1)


def check_layers(config: Mapping[str, Any], spec: NetworkSpec) -> None:
    """Raises ValueError for a model with layers that no EfficientNet has, or with other settings than `spec`."""
    for kind, settings in layers(config):
        if kind not in _HARMLESS:
            raise ValueError(f"it has a {kind} layer, which {spec.name} has not; save the EfficientNet alone")
        if kind == "Activation" and settings.get("activation") not in _SILU:
            raise ValueError(f"it uses {settings.get('activation')!r}, {spec.name} uses silu; give its spec file")
        epsilon = settings.get("epsilon")
        if kind == "BatchNormalization" and epsilon != spec.norm_epsilon:
            raise ValueError(
                f"its batch norms use epsilon {epsilon}, {spec.name} {spec.norm_epsilon}; give its spec file"
            )


def _input_resolution(config: Mapping[str, Any]) -> Resolution | None:
    """Height and width that the model was built for; None where it takes any."""
    for kind, settings in layers(config):
        shape = settings.get("batch_shape", settings.get("batch_input_shape"))
        if kind == "InputLayer" and isinstance(shape, list) and len(shape) == 4:
            height, width = shape[1:3]
            if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
                return Resolution(height, width)
    return None


def _described(config: Mapping[str, Any], moments: Moments | None) -> _Affine:
    """What the layers before the network do to a pixel."""
    affine = _Affine((1.0,), (0.0,))
    for kind, settings in layers(config):
        if kind == "Rescaling":
            affine = affine.then(_numbers(settings.get("scale"), "scale"), _numbers(settings.get("offset"), "offset"))
        elif kind == "Normalization":
            given = settings.get("mean")
            known = (
                moments
                if given is None
                else Moments(_numbers(given, "mean"), _numbers(settings.get("variance"), "variance"))
            )
            affine = _normalise(affine, known) if known else affine
    return affine


def _normalise(affine: _Affine, moments: Moments) -> _Affine:
    if min(moments.variance) <= 0:
        raise ValueError("its normalisation has a variance of 0 or less")
    channels = max(len(moments.mean), len(moments.variance))
    scale = tuple(1 / math.sqrt(value) for value in _spread(moments.variance, channels))
    return affine.then(scale, tuple(-m * s for m, s in zip(_spread(moments.mean, channels), scale, strict=True)))


def _is_published(moments: Moments | None) -> bool:
    """Whether a Normalization layer holds what the published weights do: deviations in the place of variances."""
    return (
        moments is not None
        and len(moments.variance) == len(IMAGENET_STD)
        and all(abs(value - std) < _NEAR for value, std in zip(moments.variance, IMAGENET_STD, strict=True))
    )


_PIXELS = _Affine((1 / LARGEST_VALUE,), (0.0,))
_IMAGENET = Moments(IMAGENET_MEAN, tuple(std**2 for std in IMAGENET_STD))


def _bare(spec: NetworkSpec) -> _Affine:
    """What a model without normalising layers is fed: Keras's documentation says -1..1 for EfficientNetV2.

    EfficientNets from before Keras built the layers in were fed images normalised by ImageNet's mean and deviation.
    """
    if is_v2(spec):
        return _Affine((2 / LARGEST_VALUE,), (-1.0,))
    return _normalise(_PIXELS, _IMAGENET) if spec.input_channels == 3 else _PIXELS


def _undescribed(spec: NetworkSpec, moments: Moments | None, names: Collection[str]) -> _Affine:
    """What Keras Applications builds before the network of `spec`."""
    if is_v2(spec):
        name = keras_name(spec) or spec.name
        if name.rpartition("-")[2].startswith("b") and spec.input_channels == 3:
            return _normalise(_PIXELS, _IMAGENET)
        return _Affine((1 / 128,), (-1.0,))
    if moments is None:
        return _bare(spec)
    if _is_published(moments) or sum(name.startswith("rescaling") for name in names) > 1:
        # With weights="imagenet" Keras divides by the root of the deviations once more, which makes the published
        # variances, deviations in truth, right.
        return _normalise(_PIXELS, moments).then([1 / math.sqrt(std) for std in IMAGENET_STD], (0.0,))
    return _normalise(_PIXELS, moments)


def keras_preprocessing(
    spec: NetworkSpec, config: Mapping[str, Any] | None, moments: Moments | None, names: Collection[str]
) -> Preprocessing:
    """How images reach the network: Keras normalises inside the model, we before it.

    `config` is the model's description where its file has one, `moments` the weights of its Normalization layer,
    `names` those of its layers. Images are resized as Keras's loaders do, bilinear and whole; for published weights as
    their authors did. Raises ValueError for a normalisation that is none.
    """
    if config is None:
        affine = _undescribed(spec, moments, names)
    elif any(kind in _NORMALISING for kind, _ in layers(config)):
        affine = _described(config, moments)
    else:
        affine = _bare(spec)
    if min(map(abs, affine.scale)) == 0 or any(value < 0 for value in affine.scale):
        raise ValueError("its normalisation has a scale of 0 or less")
    channels = max(len(affine.scale), spec.input_channels)
    scale, offset = _spread(affine.scale, channels), _spread(affine.offset, channels)
    resolution = (_input_resolution(config) if config else None) or spec.resolution
    published = config is None and _is_published(moments)
    pixels = min(resolution)
    return Preprocessing(
        resolution,
        crop=pixels / (pixels + 32) if published else 1.0,
        interpolation=Interpolation.BICUBIC if published else Interpolation.BILINEAR,
        antialias=False,
        mean=tuple(_tidy(-o / (s * LARGEST_VALUE)) for o, s in zip(offset, scale, strict=True)),
        std=tuple(_tidy(1 / (s * LARGEST_VALUE)) for s in scale),
    )


def _tidy(value: float) -> float:
    """0.485 for 0.48499999999999993, which is far less than float32 tells apart; 0 for -0."""
    return round(value, 9) + 0.0
