"""From answers to figures: accuracies with their intervals, each class, and how sure the model was."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from triscale.data.dataset import Metric, has_many_labels
from triscale.evaluation import intervals
from triscale.evaluation.calibration import calibration, chunks
from triscale.evaluation.intervals import f1, many_label_intervals
from triscale.evaluation.many_labels import average_precisions
from triscale.evaluation.result import ClassScores, Evaluation, ManyLabelClassScores, Subject, Throughput
from triscale.evaluation.run import Answers, Logits
from triscale.models.card import ModelCard

Values = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Choices:
    """What a model chose for each of n images that have one label."""

    predicted: Integers
    """The class of the greatest logit; of equal ones the first."""
    probability: Values
    """Softmax of that class, 0..1."""
    probability_of_label: Values
    rank_of_label: Integers
    """1 where the label is the first choice."""
    losses: Values
    """Cross entropy in nats."""


def choices(logits: Logits, labels: npt.NDArray[Any]) -> Choices:
    """Of logits (n, classes) and labels (n,)."""
    found: list[tuple[npt.NDArray[Any], ...]] = []
    start = 0
    for part in chunks(logits):
        label = torch.from_numpy(labels[start : start + len(part), None])
        of_label = part.gather(1, label)
        # Of equal logits the first class comes first, as everywhere else.
        before = (part == of_label) & (torch.arange(part.shape[1]) < label)
        logs = torch.log_softmax(part, 1)
        loss = -logs.gather(1, label)[:, 0]
        predicted = torch.from_numpy(logits[start : start + len(part)].argmax(1))
        best = logs.gather(1, predicted[:, None])[:, 0].exp()
        rank = 1 + ((part > of_label) | before).sum(1)
        found.append(tuple(each.numpy() for each in (predicted, best, (-loss).exp(), rank, loss)))
        start += len(part)
    predicted_, best_, of_label_, rank_, loss_ = (np.concatenate(column) for column in zip(*found, strict=True))
    return Choices(
        predicted=predicted_, probability=best_, probability_of_label=of_label_, rank_of_label=rank_, losses=loss_
    )


def confusion(labels: npt.NDArray[Any], predicted: Integers, classes: int) -> Integers:
    """(classes, classes): how many images of each label (row) got each first choice (column)."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def score(
    answers: Answers, subject: Subject, *, thresholds: Sequence[float] | None = None, seed: int = 0
) -> Evaluation:
    """All figures of an evaluation.

    `thresholds` says from which probability on an image with any number of labels is said to belong to each class, 0.5
    by default. `seed` draws the resamples of the intervals and the halves of the calibration.
    Raises ValueError for a metric that does not suit the labels.
    """
    many = has_many_labels(answers.labels)
    if many != (subject.metric is Metric.MEAN_AVERAGE_PRECISION):
        suits = "map" if many else "top1 or mean-per-class"
        raise ValueError(f"metric {subject.metric} does not suit images with {_KINDS[many]}; {suits} does")
    if many:
        return _score_many(answers, subject, thresholds or (0.5,) * len(answers.class_names), seed)
    return _score_one(answers, subject, seed)


_KINDS: Mapping[bool, str] = {False: "one label", True: "any number of labels"}


def _score_one(answers: Answers, subject: Subject, seed: int) -> Evaluation:
    generator = np.random.default_rng(seed)
    chosen = choices(answers.logits, answers.labels)
    counts = confusion(answers.labels, chosen.predicted, len(answers.class_names))
    images, hits = len(answers.labels), counts.diagonal()
    first, five = ((chosen.rank_of_label <= places).sum().item() for places in (1, 5))
    return Evaluation(
        subject=subject,
        images=images,
        broken=answers.broken,
        scores={
            "top1": intervals.share(first, images, generator=generator),
            "top5": intervals.share(five, images, generator=generator),
            "mean_per_class": intervals.mean_per_class(hits, counts.sum(1), generator=generator),
            "loss": float(chosen.losses.mean()),
        },
        calibration=calibration(answers.logits, answers.labels, seed=seed) if images > 1 else None,
        classes=[
            ClassScores(name=name, **figures)
            for name, figures in zip(answers.class_names, _figures(hits, counts.sum(1), counts.sum(0)), strict=True)
        ],
        confusion=counts,
        throughput=_throughput(answers),
    )


def _score_many(answers: Answers, subject: Subject, thresholds: Sequence[float], seed: int) -> Evaluation:
    targets = answers.labels
    predicted = above(answers.logits, thresholds)
    right, belong, said = ((part.sum(0, dtype=np.int64)) for part in (targets * predicted, targets, predicted))
    found = many_label_intervals(answers.logits, targets, predicted, generator=np.random.default_rng(seed))
    precisions = average_precisions(answers.logits, targets)
    rows = zip(answers.class_names, _figures(right, belong, said), precisions.tolist(), thresholds, strict=True)
    return Evaluation(
        subject=subject,
        images=len(targets),
        broken=answers.broken,
        scores={**found._asdict(), "loss": _many_label_loss(answers)},
        calibration=None,
        classes=[
            ManyLabelClassScores(
                name=name,
                **figures,
                average_precision=None if math.isnan(precision) else precision,
                threshold=threshold,
            )
            for name, figures, precision, threshold in rows
        ],
        confusion=None,
        throughput=_throughput(answers),
    )


def probabilities(logits: Logits) -> Values:
    """Sigmoid of each logit, (n, classes)."""
    found: Values = torch.cat([torch.sigmoid(part) for part in chunks(logits)]).numpy()
    return found


def above(logits: Logits, thresholds: Sequence[float]) -> npt.NDArray[np.uint8]:
    """1 where an image is said to belong to a class, (n, classes)."""
    limits = torch.tensor(thresholds, dtype=torch.float64)
    return torch.cat([torch.sigmoid(part) >= limits for part in chunks(logits)]).numpy().astype(np.uint8)


def thresholds_of(card: ModelCard, class_names: Sequence[str]) -> tuple[float, ...] | None:
    """The thresholds that the model file brings along, for `class_names` in this order; None where it has none.

    Raises ValueError where they are no probabilities, one for each of the model's outputs.
    """
    found = card.provenance.get("thresholds")
    if found is None:
        return None
    fitting = isinstance(found, list) and len(found) == len(class_names)
    if not fitting or not all(isinstance(value, int | float) and 0 <= value <= 1 for value in found):
        raise ValueError(f"the model's thresholds must be {len(class_names)} probabilities, got {str(found)[:60]}")
    known = card.class_names or tuple(class_names)
    by_name = dict(zip(known, map(float, found), strict=True))
    return tuple(by_name[name] for name in class_names)


def _figures(right: Integers, belong: Integers, said: Integers) -> list[dict[str, Any]]:
    """Of each class: images, precision, recall and F1."""
    harmonic = f1(*(part.astype(np.float64) for part in (right, belong, said)))
    return [
        {
            "images": images,
            "precision": hits / given if given else None,
            "recall": hits / images if images else None,
            "f1": None if math.isnan(mean) else mean,
        }
        for hits, images, given, mean in zip(
            right.tolist(), belong.tolist(), said.tolist(), harmonic.tolist(), strict=True
        )
    ]


def _many_label_loss(answers: Answers) -> float:
    total, start = 0.0, 0
    for part in chunks(answers.logits):
        targets = torch.from_numpy(answers.labels[start : start + len(part)]).double()
        total += float(functional.binary_cross_entropy_with_logits(part, targets, reduction="sum"))
        start += len(part)
    return total / len(answers.labels)


def _throughput(answers: Answers) -> Throughput:
    return Throughput(
        images_per_s=answers.images_per_s,
        batch_size=answers.batch_size,
        device=answers.device,
        engine=answers.engine,
    )
