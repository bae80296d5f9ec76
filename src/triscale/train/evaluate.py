"""Judging a network on every image of a dataset once, in any number of processes."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from triscale.data.dataset import Metric
from triscale.evaluation.many_labels import average_precisions, tune_thresholds
from triscale.train.distributed import World
from triscale.train.loader import MicroBatch

_LOSS_UNITS: Final = 1 << 24
"""In one nat. Losses in whole units add up exactly, in any order, to float64's 2^53 units."""
TEMPERATURES: Final = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""What logits are divided by, tried for `Evaluation.calibrated_loss`."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evaluation:
    """How a network did on images with one label each; shares are of the images that could be read."""

    images: int
    top1: float
    """Share of images whose label is the network's first choice, 0..1."""
    top5: float
    """Share of images whose label is among its first five, 0..1."""
    loss: float
    """Mean cross entropy, without label smoothing, in nats."""
    calibrated_loss: float
    """The same after dividing logits by the one of `TEMPERATURES` that makes it least.

    Smoothed labels teach caution and long training boldness, which `loss` counts as errors.
    """
    confusion: Tensor
    """int64 (classes, classes): how many images of each label (row) got each first choice (column)."""
    broken: tuple[tuple[str, str], ...]
    """Name and reason of every image that this process could not read."""

    @property
    def mean_per_class(self) -> float:
        """Top-1 of each class, averaged over the classes that have images, 0..1."""
        counts = self.confusion.sum(1)
        return float((self.confusion.diag() / counts)[counts > 0].mean())

    def score(self, metric: Metric) -> float:
        """What the best weights are chosen by, 0..1."""
        return {Metric.TOP1: self.top1, Metric.MEAN_PER_CLASS: self.mean_per_class}[metric]

    def figures(self, part: str, metric: Metric) -> dict[str, float]:
        """What the log says, under names that begin with `part`."""
        named = {"top1": self.top1, "top5": self.top5, metric.value.replace("-", "_"): self.score(metric)}
        return {f"{part}_{name}": value for name, value in {**named, "loss": self.loss}.items()}

    @property
    def settings(self) -> dict[str, Any]:
        """What the model file should say of how its answers are best read."""
        return {}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ManyLabelEvaluation:
    """How a network did on images with any number of labels each."""

    images: int
    average_precisions: tuple[float, ...]
    """Of each class, 0..1; not a number for one that no image belongs to."""
    loss: float
    """Mean over images of the classes' binary cross entropies, added up, without label smoothing, in nats."""
    thresholds: tuple[float, ...]
    """The probability of each class from which on these images are best said to belong to it, by F1."""
    broken: tuple[tuple[str, str], ...]
    """Name and reason of every image that this process could not read."""

    @property
    def calibrated_loss(self) -> float:
        """The loss: thresholds of their own make up for what calibration would mend."""
        return self.loss

    @property
    def mean_average_precision(self) -> float:
        """Over the classes that images belong to, 0..1."""
        known = [value for value in self.average_precisions if not math.isnan(value)]
        return sum(known) / max(1, len(known))

    def score(self, metric: Metric) -> float:
        """What the best weights are chosen by, 0..1."""
        return {Metric.MEAN_AVERAGE_PRECISION: self.mean_average_precision}[metric]

    def figures(self, part: str, metric: Metric) -> dict[str, float]:
        """What the log says, under names that begin with `part`."""
        return {f"{part}_map": self.score(metric), f"{part}_loss": self.loss}

    @property
    def settings(self) -> dict[str, Any]:
        """What the model file should say of how its answers are best read."""
        return {"thresholds": list(self.thresholds)}


Judgement = Evaluation | ManyLabelEvaluation


def nearly(score: float, *, images: int, margin: float) -> float:
    """`margin` standard errors below a `score` (0..1) that was found on `images` images.

    The error is that of a share, with one image added that is right and one that is wrong (Laplace), so that a score
    of 1 has one too.
    """
    share = (score * images + 1) / (images + 2)
    return score - margin * math.sqrt(share * (1 - share) / images)


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    batches: Iterable[MicroBatch],
    *,
    classes: int,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device,
    world: World,
    precision: torch.dtype = torch.float32,
) -> Evaluation:
    """Run `network`, in evaluation mode, over this process's `batches` and add up what all processes found.

    Every process gets the same figures: they are sums of whole numbers over all images, so they do not depend on
    how many processes there are, to the bit, as long as the same images make up a batch. Raises ValueError where not
    a single image could be read.
    """
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    loss_sums = torch.zeros(len(TEMPERATURES), dtype=torch.float64, device=device)
    confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
    broken: list[tuple[str, str]] = []
    for logits, labels in _answers(network, batches, broken, normalise=normalise, device=device, precision=precision):
        best = logits.topk(min(5, classes)).indices
        hits = best == labels[:, None]
        sums[:2] += torch.stack([hits[:, 0].sum(), hits.sum()])
        sums[2] += len(labels)
        for number, temperature in enumerate(TEMPERATURES):
            losses = functional.cross_entropy(logits.double() / temperature, labels, reduction="none")
            loss_sums[number] += (losses * _LOSS_UNITS).round().sum()
        confusion += torch.bincount(labels * classes + best[:, 0], minlength=classes * classes)
    first, five, images = world.sum(sums).tolist()
    world.sum(loss_sums)
    world.sum(confusion)
    if not images:
        raise _nothing_read(broken)
    return Evaluation(
        images=int(images),
        top1=first / images,
        top5=five / images,
        loss=loss_sums[TEMPERATURES.index(1.0)].item() / _LOSS_UNITS / images,
        calibrated_loss=loss_sums.min().item() / _LOSS_UNITS / images,
        confusion=confusion.view(classes, classes).cpu(),
        broken=tuple(broken),
    )


@torch.inference_mode()
def evaluate_many_labels(
    network: nn.Module,
    batches: Iterable[MicroBatch],
    *,
    classes: int,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device,
    world: World,
    precision: torch.dtype = torch.float32,
) -> ManyLabelEvaluation:
    """`evaluate` for images with any number of labels; one process keeps all logits and labels in memory."""
    broken: list[tuple[str, str]] = []
    loss_sum = torch.zeros(1, dtype=torch.float64, device=device)
    kept = [torch.empty(0, 2, classes)]
    for logits, labels in _answers(network, batches, broken, normalise=normalise, device=device, precision=precision):
        losses = functional.binary_cross_entropy_with_logits(logits.double(), labels.double(), reduction="none").sum(1)
        loss_sum += (losses * _LOSS_UNITS).round().sum()
        kept.append(torch.stack([logits, labels.float()], 1).cpu())
    scores, targets = world.concatenate(torch.cat(kept)).unbind(1)
    if not len(scores):
        raise _nothing_read(broken)
    logits_, labels_ = scores.numpy(), targets.numpy().astype(np.uint8)
    return ManyLabelEvaluation(
        images=len(scores),
        average_precisions=tuple(average_precisions(logits_, labels_).tolist()),
        loss=float(world.sum(loss_sum).item()) / _LOSS_UNITS / len(scores),
        thresholds=tuple(tune_thresholds(torch.sigmoid(scores.double()).numpy(), labels_).tolist()),
        broken=tuple(broken),
    )


def _answers(
    network: nn.Module,
    batches: Iterable[MicroBatch],
    broken: list[tuple[str, str]],
    *,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device,
    precision: torch.dtype,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits float32 (N, classes) and labels of each batch; what could not be read is added to `broken`."""
    for batch in batches:
        broken += batch.broken
        if not len(batch.labels):
            continue
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            logits = network(normalise(batch.images.to(device, non_blocking=True))).float()
        yield logits, batch.labels.to(device, non_blocking=True)


def _nothing_read(broken: Sequence[tuple[str, str]]) -> ValueError:
    reason = f", such as {broken[0][0]}: {broken[0][1]}" if broken else ""
    return ValueError(f"there is no readable image to judge by{reason}")
