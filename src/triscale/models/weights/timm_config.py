"""The `config.json` beside timm's weights: which model it is, and what it expects of images."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triscale.arch.codec import parse_json
from triscale.arch.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocessing
from triscale.arch.spec import NetworkSpec, Resolution
from triscale.imagenet import imagenet_class_names
from triscale.models.weights.timm_networks import timm_spec

logger = logging.getLogger(__name__)

LARGEST_FILE = 16 << 20
"""Bytes; the names of ImageNet-21k's classes take 1 MB."""

_HARMLESS = frozenset({"num_classes", "in_chans", "drop_rate", "drop_path_rate", "global_pool"})
"""Model arguments that change no answers, or that are read and checked by themselves."""


@dataclass(frozen=True, slots=True)
class TimmConfig:
    """What a config says, in our terms."""

    spec: NetworkSpec
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    tag: str
    """Of the weights: `ra_in1k`; empty where it does not say."""
    license: str


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} must be a number, got {value!r}")
    return float(value)


def _size(value: object, what: str) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(v, int) and v > 0 for v in value):
        raise ValueError(f"{what} must be channels, height and width, got {value!r}")
    return value[0], value[1], value[2]


def _values(value: object, what: str, channels: int) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    numbers = tuple(_number(entry, what) for entry in values)
    return numbers * channels if len(numbers) == 1 else numbers


def _preprocessing(data: Mapping[str, Any], where: str) -> Preprocessing:
    """At the evaluation's settings where they differ from training's, as timm's `validate.py` does.

    `timm.data.create_transform` keeps to training's; published accuracies are those of the evaluation.
    """
    channels = _size(data.get("input_size"), "input_size")[0]
    _, height, width = _size(data.get("test_input_size") or data.get("input_size"), "test_input_size")
    crop = data.get("test_crop_pct") or data.get("crop_pct") or 0.875
    interpolation = data.get("interpolation", "bicubic")
    if interpolation not in tuple(Interpolation):
        raise ValueError(f"interpolation must be {' or '.join(Interpolation)}, got {interpolation!r}")
    mode = data.get("crop_mode", "center")
    if mode != "center":
        logger.warning(
            "%s: timm prepares images by %r; Triscale crops their centre instead, so answers differ a little",
            where,
            mode,
        )
    return Preprocessing(
        Resolution(height, width),
        crop=_number(crop, "crop_pct"),
        interpolation=Interpolation(interpolation),
        mean=_values(data.get("mean", list(IMAGENET_MEAN)), "mean", channels),
        std=_values(data.get("std", list(IMAGENET_STD)), "std", channels),
    )


def _class_names(data: Mapping[str, Any], classes: int, tag: str) -> tuple[str, ...]:
    names = data.get("label_names") or data.get("labels")
    if isinstance(names, list) and len(names) == classes and all(isinstance(name, str) for name in names):
        descriptions = data.get("label_descriptions")
        texts = descriptions if isinstance(descriptions, dict) else {}
        return tuple(str(texts.get(name, name)) for name in names)
    return imagenet_class_names() if classes == 1000 and tag.endswith("in1k") else ()


def _check_arguments(data: Mapping[str, Any]) -> None:
    arguments = data.get("model_args") or {}
    if not isinstance(arguments, Mapping):
        raise ValueError("model_args must be an object")
    if strange := sorted(key for key, value in arguments.items() if key not in _HARMLESS and value):
        raise ValueError(f"model_args changes {', '.join(strange)}, which Triscale's networks fix; use timm for it")
    pool = arguments.get("global_pool") or data.get("global_pool") or "avg"
    if pool != "avg":
        raise ValueError(f"global_pool is {pool!r}; Triscale's networks end in the mean ('avg')")


def _parse(data: Any, where: str) -> TimmConfig:
    if not isinstance(data, dict) or not isinstance(data.get("architecture"), str):
        raise ValueError("it names no architecture, so it is not timm's")
    _check_arguments(data)
    pretrained = data.get("pretrained_cfg", data)
    if not isinstance(pretrained, dict):
        raise ValueError("pretrained_cfg must be an object")
    both = pretrained | {key: data[key] for key in ("num_classes", "label_names", "label_descriptions") if key in data}
    classes = both.get("num_classes", 1000)
    if not isinstance(classes, int) or isinstance(classes, bool):
        raise ValueError(f"num_classes must be a whole number, got {classes!r}")
    preprocessing = _preprocessing(both, where)
    spec = replace(
        timm_spec(data["architecture"]),
        classes=classes,
        input_channels=len(preprocessing.mean),
        resolution=preprocessing.resolution,
    )
    tag = str(both.get("tag") or data["architecture"].partition(".")[2])
    return TimmConfig(spec, preprocessing, _class_names(both, classes, tag), tag, str(both.get("license") or ""))


def read_timm_config(path: Path, *, where: str = "") -> TimmConfig:
    """What timm's `config.json` says; `where` names its origin in errors, the path by default.

    Raises ValueError, in one line, for an architecture or arguments that Triscale's networks cannot express.
    """
    where = where or str(path)
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{where}: config.json has {path.stat().st_size} bytes, at most {LARGEST_FILE} are read")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{where}: config.json is not UTF-8 text") from None
    data = parse_json(text, where=f"{where}: config.json")
    try:
        return _parse(data, where)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
