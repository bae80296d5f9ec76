"""Judging a network on every image of a dataset once, in any number of processes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from triscale.train.distributed import World
from triscale.train.loader import MicroBatch

_LOSS_UNITS: Final = 1 << 24
"""In one nat. Losses in whole units add up exactly, in any order, to float64's 2^53 units."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """How a network did; shares are of the images that could be read."""

    images: int
    top1: float
    """Share of images whose label is the network's first choice, 0..1."""
    top5: float
    """Share of images whose label is among its first five, 0..1."""
    loss: float
    """Mean cross entropy, without label smoothing, in nats."""
    confusion: Tensor
    """int64 (classes, classes): how many images of each label (row) got each first choice (column)."""
    broken: tuple[tuple[str, str], ...]
    """Name and reason of every image that this process could not read."""


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
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
    broken: list[tuple[str, str]] = []
    for batch in batches:
        broken += batch.broken
        if not len(batch.labels):
            continue
        labels = batch.labels.to(device, non_blocking=True)
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            logits = network(normalise(batch.images.to(device, non_blocking=True))).float()
        best = logits.topk(min(5, classes)).indices
        hits = best == labels[:, None]
        losses = functional.cross_entropy(logits.double(), labels, reduction="none") * _LOSS_UNITS
        sums[:3] += torch.stack([hits[:, 0].sum(), hits.sum(), losses.round().sum()])
        sums[3] += len(labels)
        confusion += torch.bincount(labels * classes + best[:, 0], minlength=classes * classes)
    first, five, loss_sum, images = world.sum(sums).tolist()
    world.sum(confusion)
    if not images:
        reason = f", such as {broken[0][0]}: {broken[0][1]}" if broken else ""
        raise ValueError(f"there is no readable image to judge by{reason}")
    return Evaluation(
        images=int(images),
        top1=first / images,
        top5=five / images,
        loss=loss_sum / _LOSS_UNITS / images,
        confusion=confusion.view(classes, classes).cpu(),
        broken=tuple(broken),
    )
