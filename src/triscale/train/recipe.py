"""A recipe: everything that decides which weights come out of a training run, as data."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from triscale.arch.codec import decode, encode, parse_json, unknown_key
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import NetworkSpec
from triscale.data.augmentation import Augmentation, Policy
from triscale.data.dataset import Metric
from triscale.train.schedule import Schedule
from triscale.train.tuning import FineTuning

FORMAT = "triscale-recipe"
VERSION = 1


class OptimizerKind(StrEnum):
    """How gradients become updates."""

    RMSPROP = "rmsprop"
    """As TensorFlow defines it; the paper's."""
    ADAMW = "adamw"
    SGD = "sgd"
    """With Nesterov momentum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """The optimizer and its constants; the defaults are the paper's (section 5.2)."""

    kind: OptimizerKind = OptimizerKind.RMSPROP
    momentum: float = 0.9
    """Of the update; AdamW's beta 1."""
    decay: float = 0.9
    """Of the mean square: RMSProp's decay, AdamW's beta 2. SGD has none."""
    epsilon: float = 1e-3
    """Inside the root for RMSProp, outside for AdamW. SGD has none."""
    weight_decay: float = 1e-5
    """RMSProp and SGD: of half the squared norm, in the loss. AdamW: decoupled, times the learning rate."""
    decay_biases: bool = True
    """Whether biases of squeeze-and-excitation and the classifier decay too; batch norm never does."""

    def __post_init__(self) -> None:
        for name in ("momentum", "decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in 0..1, below 1, got {getattr(self, name)}")
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError(f"epsilon must be positive, got {self.epsilon}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


class Objective(StrEnum):
    """How many of the classes an image may belong to."""

    ONE_LABEL = "one-label"
    """One each: cross entropy of a softmax."""
    MANY_LABELS = "many-labels"
    """Any number: binary cross entropy of each class's sigmoid, added up."""


class Balance(StrEnum):
    """What is done where classes have very different numbers of images."""

    NONE = "none"
    WEIGHTS = "weights"
    """Errors count in inverse proportion to their class's images."""
    SAMPLING = "sampling"
    """Images are drawn, with replacement, so that each class comes as often; one label an image alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to train and how. With the same data, two runs of one recipe give the same weights."""

    network: NetworkSpec
    preprocessing: Preprocessing
    """How images are prepared where the network is judged and used."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: Schedule = field(default_factory=Schedule)
    batch_size: int = 4096
    """Images an update, over all devices together."""
    epochs: int = 350
    label_smoothing: float = 0.1
    ema_decay: float = 0.9999
    """Of the average of weights and statistics that is judged and kept; 0 for none."""
    batch_norm_images: int | None = None
    """Images that batch norm takes its statistics from: a batch is cut in groups of so many, on however many devices.

    Left out, it becomes the most that fit the memory at the start of the run, at most 128.
    """
    minival: float = 0.02
    """Part of the training images held out to choose the best checkpoint by: a fraction below 1, else their number."""
    evaluate_every_epochs: int = 1
    """How often the held-out images are looked at; always after the last epoch."""
    patience: int | None = None
    """Epochs without a better result on the held-out images after which a run ends early; None for never."""
    objective: Objective = Objective.ONE_LABEL
    balance: Balance = Balance.NONE
    metric: Metric = Metric.TOP1
    """What the held-out images choose the best weights by."""
    metric_margin: float = 0.0
    """Standard errors of the metric: among results that near to the best one, the lowest calibrated loss decides.

    Of few held-out images the best of many results is mostly a lucky one; the loss says more.
    """
    start: str | None = None
    """What the weights are at the start: the name and digest of a model whose copy lies in the run folder.

    None for random weights, drawn by `seed`.
    """
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "evaluate_every_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in 0..1, below 1, got {self.label_smoothing}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in 0..1, below 1, got {self.ema_decay}")
        for name in ("minival", "metric_margin"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed must lie in 0..2^63, got {self.seed}")
        if self.network.classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes, {self.network.name} has {self.network.classes}")
        if self.network.input_channels != len(self.preprocessing.mean):
            raise ValueError(
                f"{self.network.name} takes {self.network.input_channels} channels, "
                f"preprocessing gives {len(self.preprocessing.mean)}"
            )
        if self.network.input_channels not in (1, 3) and self.augmentation.policy is not Policy.NONE:
            raise ValueError(
                f"{self.augmentation.policy} changes colours, which images of {self.network.input_channels} channels "
                "do not have; set augmentation.policy=none"
            )
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {self.patience}")
        self._check_groups()
        self._check_labels()

    def _check_labels(self) -> None:
        many = self.objective is Objective.MANY_LABELS
        if many != (self.metric is Metric.MEAN_AVERAGE_PRECISION):
            fitting = "map" if many else "top1 or mean-per-class"
            raise ValueError(f"with objective {self.objective}, metric must be {fitting}, got {self.metric}")
        if many and self.balance is Balance.SAMPLING:
            raise ValueError("images with many labels cannot be sampled evenly; set balance=weights")

    def _check_groups(self) -> None:
        images = self.batch_norm_images
        if images is None:
            return
        if images < 1:
            raise ValueError(f"batch_norm_images must be at least 1, got {images}")
        if self.batch_size % images:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of batch_norm_images {images}")

    def held_out_images(self, images: int) -> int:
        """How many of `images` training images are held out."""
        return round(self.minival * images) if self.minival < 1 else int(self.minival)


def recipe_to_json(recipe: Recipe) -> str:
    """The recipe file's text."""
    return json.dumps({"format": FORMAT, "version": VERSION, **encode(recipe)}, indent=2, allow_nan=False) + "\n"


def recipe_from_json(text: str, *, where: str = "recipe") -> Recipe:
    """The recipe that `recipe_to_json` wrote.

    Raises ValueError for another format or version, unknown or missing keys, and values that make no sense.
    """
    data = parse_json(text, where=where)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f'{where} is no Triscale recipe: it lacks "format": "{FORMAT}"')
    if data.get("version") != VERSION:
        raise ValueError(f"{where} has recipe version {data.get('version')}, this Triscale reads {VERSION}")
    return decode(Recipe, {key: data[key] for key in data if key not in ("format", "version")}, where=where)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a `.json` file."""
    try:
        return recipe_from_json(path.read_text(encoding="utf-8"), where=str(path))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text, so it is no recipe") from None


def _value(word: str) -> Any:
    """A word of the command line as JSON where it is some, else as text."""
    try:
        return json.loads(word)
    except ValueError:
        return word


def _set(data: Any, keys: list[str], value: Any, *, where: str) -> None:
    key: Any
    key, *rest = keys
    if isinstance(data, list):
        if not key.isdecimal() or int(key) >= len(data):
            raise ValueError(f"{where} has no {key}; it counts from 0 to {len(data) - 1}")
        key = int(key)
    elif not isinstance(data, dict):
        raise ValueError(f"{where} holds no fields")
    elif key not in data:
        raise unknown_key(key, list(data), where)
    if rest:
        _set(data[key], rest, value, where=f"{where}.{key}")
    else:
        data[key] = value


def with_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """`recipe` with fields set as on a command line: `epochs=10`, `optimizer.weight_decay=1e-4`.

    Values are JSON; a word that is none is text. Raises ValueError for an unknown field, naming the nearest.
    """
    data = encode(recipe)
    for setting in settings:
        name, equals, word = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting!r} sets nothing; write FIELD=VALUE, such as epochs=10")
        _set(data, name.split("."), _value(word), where="recipe")
    return decode(Recipe, data, where="recipe")


def first_difference(before: Any, after: Any, *, where: str = "") -> str:
    """The first place where two encoded values differ, such as "epochs=10, not 20"; empty where they are equal."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before:
            if found := first_difference(before[key], after.get(key), where=f"{where}.{key}" if where else key):
                return found
        return ""
    return "" if before == after else f"{where}={json.dumps(before)}, not {json.dumps(after)}"
