"""Every image's answer in a CSV file: what was evaluated, and what is handed in for images without labels."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from triscale.data.dataset import has_many_labels
from triscale.data.errors import printable
from triscale.deploy.predict import Prediction
from triscale.evaluation.run import Answers
from triscale.evaluation.scores import above, choices, probabilities
from triscale.storage import atomic_path

FIRST: Final = 5
"""Classes of an image that are handed in."""
BETWEEN: Final = "|"
"""Between the names of several classes."""
_ROWS: Final = 4096
"""Images whose probabilities are held at a time."""


def write_predictions(answers: Answers, path: Path, *, thresholds: Sequence[float] | None = None) -> None:
    """Write a line an image, in order, whole or not at all.

    One label: image, label, predicted, probability, probability_of_label, rank_of_label. Any number of labels: image,
    labels, predicted (by `thresholds`, 0.5 by default), and the probability of each class.
    """
    many = has_many_labels(answers.labels)
    rows = _many_label_rows(answers, thresholds or (0.5,) * len(answers.class_names)) if many else _rows(answers)
    _write(path, rows)


def _write(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _rows(answers: Answers) -> Iterator[Sequence[object]]:
    yield "image", "label", "predicted", "probability", "probability_of_label", "rank_of_label"
    names, chosen = answers.class_names, choices(answers.logits, answers.labels)
    columns = zip(
        answers.names,
        answers.labels.tolist(),
        chosen.predicted.tolist(),
        chosen.probability.tolist(),
        chosen.probability_of_label.tolist(),
        chosen.rank_of_label.tolist(),
        strict=True,
    )
    for image, label, predicted, probability, of_label, rank in columns:
        yield printable(image), names[label], names[predicted], _short(probability), _short(of_label), rank


def _many_label_rows(answers: Answers, thresholds: Sequence[float]) -> Iterator[Sequence[object]]:
    yield "image", "labels", "predicted", *answers.class_names
    for start in range(0, len(answers.names), _ROWS):
        part = slice(start, start + _ROWS)
        logits = answers.logits[part]
        rows = zip(
            answers.names[part], answers.labels[part], above(logits, thresholds), probabilities(logits), strict=True
        )
        for image, labels, predicted, row in rows:
            carried, chosen = (
                BETWEEN.join(answers.class_names[label] for label in np.flatnonzero(each))
                for each in (labels, predicted)
            )
            yield printable(image), carried, chosen, *map(_short, row.tolist())


def _short(probability: float) -> str:
    return f"{probability:.6g}"


class SubmissionFormat(StrEnum):
    """How answers to unlabelled images are handed in."""

    CSV = "csv"
    """A header, then the image and its first five classes a line, the likeliest first."""
    IMAGENET = "imagenet"
    """Five class numbers a line and nothing else, as ImageNet's server takes them, images in the order of names."""


def write_submission(
    predictions: Iterable[Prediction],
    path: Path,
    *,
    format: SubmissionFormat = SubmissionFormat.CSV,
    indices: bool = False,
    numbers: Sequence[int] = (),
) -> tuple[tuple[str, str], ...]:
    """Write the first five classes of each image as the answers come; returns name and reason of broken images.

    Classes go by name, or with `indices` by label; ImageNet's server wants `numbers`, which says what each label is
    called there. Its lines belong to images by their order alone: there a broken image raises ValueError, and nothing
    is written.
    """
    broken: list[tuple[str, str]] = []
    read = _readable(predictions, broken, strict=format is SubmissionFormat.IMAGENET)
    if format is SubmissionFormat.CSV:
        _write(path, _submission_rows(read, indices=indices))
    else:
        with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
            file.writelines(
                " ".join(str(numbers[label.index]) for label in prediction.labels[:FIRST]) + "\n" for prediction in read
            )
    return tuple(broken)


def _readable(
    predictions: Iterable[Prediction], broken: list[tuple[str, str]], *, strict: bool
) -> Iterator[Prediction]:
    for prediction in predictions:
        if prediction.error is None:
            yield prediction
            continue
        if strict:
            raise ValueError(f"{prediction.path}: {prediction.error}; without it no line would belong to its image")
        broken.append((prediction.path, prediction.error))


def _submission_rows(predictions: Iterable[Prediction], *, indices: bool) -> Iterator[Sequence[object]]:
    header = True
    for prediction in predictions:
        labels = prediction.labels[:FIRST]
        if header:
            yield "image", *(f"class{place}" for place in range(1, len(labels) + 1))
            header = False
        yield printable(prediction.path), *(label.index if indices else label.name for label in labels)
