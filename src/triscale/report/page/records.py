"""What the files of a run folder hold, as the page reads them."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Interval(NamedTuple):
    """A score and its 95 % interval."""

    value: float
    low: float
    high: float


class Broken(NamedTuple):
    """An image that could not be read."""

    image: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """How images of one class fared; None is what cannot be said."""

    name: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Images whose probability lies in `low`..`high`."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether probabilities are what they say."""

    ece: float
    temperature: float
    ece_after: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """How fast images were classified."""

    images_per_s: float
    batch_size: int
    device: str
    engine: str = "torch"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """evaluation.json."""

    network: str
    data: str
    part: str
    metric: str
    images: int
    broken: tuple[Broken, ...]
    scores: dict[str, Interval]
    loss: float
    calibration: Calibration | None
    classes: tuple[ClassScores, ...]
    confusion: npt.NDArray[np.int64] | None
    """(classes, classes), rows are labels; None where images carry any number of labels."""
    throughput: Throughput

    def __post_init__(self) -> None:
        size = len(self.classes)
        if self.confusion is not None and self.confusion.shape != (size, size):
            raise ValueError(f"confusion must be {size} x {size}, as there are classes, got {self.confusion.shape}")
        if self.confusion is not None and (self.confusion < 0).any():
            raise ValueError("confusion must not hold negative counts")

    @property
    def class_names(self) -> tuple[str, ...]:
        """By label."""
        return tuple(each.name for each in self.classes)


class Answer(NamedTuple):
    """A line of predictions.csv, for images with one label."""

    image: str
    label: str
    predicted: str
    probability: float
    probability_of_label: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """An entry of mistakes.json; the pictures are paths from the run folder."""

    image: str
    label: str
    predicted: str
    probability: float
    probability_of_label: float
    picture: str
    map: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """A network in costs.json."""

    name: str
    resolution: str
    params: int
    macs: int
    memory_bytes: int
    latency_ms: float | None
    top1: float | None
    """On ImageNet, of its released weights."""
    chosen: bool
    score: float | None = None
    """Of a probe on a sample of the run's images, where a budget chose among networks."""

    def __post_init__(self) -> None:
        figures = (self.params, self.macs, self.memory_bytes, self.latency_ms or 0, self.top1 or 0, self.score or 0)
        if any(not math.isfinite(figure) or figure < 0 for figure in figures):
            raise ValueError(f"{self.name} has a cost that is negative or infinite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """costs.json."""

    threads: int
    rows: tuple[CostRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader:
    """What a model file says beside its tensors."""

    spec: Any
    """A network's spec as JSON holds it."""
    class_names: tuple[str, ...]
    provenance: dict[str, Any]
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """data.json."""

    name: str
    validation_fraction: float = 0.2
    root: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """All that a run folder tells; None and empty stand for files that are not there."""

    recipe: dict[str, Any] | None = None
    data: DataSource | None = None
    log: tuple[dict[str, Any], ...] = ()
    evaluation: Evaluation | None = None
    answers: tuple[Answer, ...] = ()
    mistakes: tuple[Mistake, ...] | None = None
    costs: Costs | None = None
    model: ModelHeader | None = None
    pictures: dict[str, str] = field(default_factory=dict)
    """Data URIs by path from the run folder."""
