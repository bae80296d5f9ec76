"""What an evaluation found, and the file that says so."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from triscale.data.dataset import Metric
from triscale.data.errors import printable
from triscale.evaluation.calibration import Calibration
from triscale.evaluation.intervals import Interval
from triscale.storage import write_text

FORMAT: Final = "triscale-evaluation"
VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was judged by what, in names."""

    model: str
    """The file, or the name of released weights."""
    network: str
    data: str
    part: str
    metric: Metric
    """What networks are compared by on this data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """How images of one class fared; None is what cannot be said."""

    name: str
    images: int
    """That belong to the class."""
    precision: float | None
    """Share of the images given to the class that belong to it; None where none was given to it."""
    recall: float | None
    """Share of the images of the class that were given to it; None without images."""
    f1: float | None
    """Harmonic mean of the two; None where no image belongs to the class or was given to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyLabelClassScores(ClassScores):
    """The same where images carry any number of labels."""

    average_precision: float | None
    """None without images."""
    threshold: float
    """The probability from which on an image is said to belong to the class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """How fast images were read, prepared and answered."""

    images_per_s: float
    batch_size: int
    device: str
    engine: str = "torch"
    """native (our compiled engine), torch, or given."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """How good a model is on some images."""

    subject: Subject
    images: int
    """That could be read; all figures are of these."""
    broken: tuple[tuple[str, str], ...]
    """Name and reason of each of the others."""
    scores: Mapping[str, Interval | float]
    """One label: top1, top5, mean_per_class and the mean cross entropy in nats, loss. Many labels: map, micro_f1,
    macro_f1, and as loss the classes' binary cross entropies, added up, averaged over images."""
    calibration: Calibration | None
    """None for many labels, and for a single image."""
    classes: Sequence[ClassScores]
    """By label."""
    confusion: npt.NDArray[np.int64] | None
    """(classes, classes): images of each label (row) by first choice (column); None for many labels."""
    throughput: Throughput

    @property
    def kind(self) -> str:
        """`one-label` or `many-labels`."""
        return "many-labels" if self.confusion is None else "one-label"

    @property
    def class_names(self) -> tuple[str, ...]:
        """By label."""
        return tuple(each.name for each in self.classes)

    @property
    def headline(self) -> Interval:
        """What networks are compared by on this data."""
        found = self.scores[self.subject.metric.value.replace("-", "_")]
        assert isinstance(found, Interval)
        return found


def evaluation_as_json(found: Evaluation) -> dict[str, Any]:
    """The content of evaluation.json."""
    subject = found.subject
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": found.kind,
        "model": printable(subject.model),
        "network": subject.network,
        "data": printable(subject.data),
        "part": subject.part,
        "metric": subject.metric.value,
        "images": found.images,
        "broken": [[printable(name), printable(reason)] for name, reason in found.broken],
        "class_names": list(found.class_names),
        "scores": {
            name: value._asdict() if isinstance(value, Interval) else value for name, value in found.scores.items()
        },
        "calibration": None if found.calibration is None else asdict(found.calibration),
        "classes": [asdict(each) for each in found.classes],
        "confusion": None if found.confusion is None else found.confusion.tolist(),
        "throughput": asdict(found.throughput),
    }


def write_evaluation(found: Evaluation, path: Path) -> None:
    """Write evaluation.json, whole or not at all; a line for each of its keys."""
    lines = ",\n".join(
        f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for name, value in evaluation_as_json(found).items()
    )
    write_text(path, f"{{\n{lines}\n}}\n")
