"""Labels with probabilities for images, a bounded number of them in memory at a time."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from triscale.data.batches import Batch, Given, read_batches
from triscale.data.errors import ImageError
from triscale.data.limits import Limits
from triscale.data.read import ImageBytes
from triscale.deploy.eager import Engine
from triscale.deploy.usual import cores, usual_engine
from triscale.models.card import ModelCard
from triscale.models.files import Model


@dataclass(frozen=True, slots=True)
class Label:
    """One answer of the classifier."""

    index: int
    """Output of the classifier, from 0."""
    name: str
    """The class's name; its index as text where the model names none."""
    probability: float
    """0..1: softmax over all classes, or where an image may belong to many the class's own sigmoid."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one image: labels, the likeliest first, or why the image could not be read."""

    path: str
    labels: tuple[Label, ...] = ()
    error: str | None = None


def top_labels(logits: Tensor, card: ModelCard, *, top: int) -> tuple[Label, ...]:
    """The `top` likeliest classes of one image's logits (classes,)."""
    class_names = card.class_names
    probabilities = torch.sigmoid(logits.double()) if card.many_labels else torch.softmax(logits.double(), 0)
    best = probabilities.topk(min(top, len(probabilities)))
    return tuple(
        Label(index, class_names[index] if class_names else str(index), probability)
        for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )


def predict(
    model: Model,
    sources: Iterable[Given],
    *,
    top: int = 5,
    batch_size: int = 16,
    workers: int | None = None,
    limits: Limits | None = None,
    engine: Engine | None = None,
) -> Iterator[Prediction]:
    """One `Prediction` for each image of `sources`, in their order; a broken image never stops the rest.

    Images are read by `workers` threads (one a core by default) while the network runs, and prepared as the model's
    card says; `limits` bounds what one image may take. `engine` defaults to the fastest one on the CPU
    (`usual_engine`). Pixels may be given, too: uint8 (H, W, C) in 0..255, called by their number from 0. Raises
    ValueError for pixels of another range, for a `top` or `batch_size` below 1, and for a model without classes.
    """
    if top < 1 or batch_size < 1:
        raise ValueError(f"top and batch_size must be at least 1, got {top} and {batch_size}")
    if not model.network.spec.classes:
        raise ValueError(f"{model.network.spec.name} has no classes to predict; reset_classifier gives it some")
    threads = workers or cores()
    batches = read_batches(
        sources,
        model.card.preprocessing,
        batch_size=batch_size,
        workers=threads,
        limits=limits,
    )
    return _predictions(batches, engine or usual_engine(model, threads=threads).run, model.card, top=top)


def _predictions(batches: Iterator[Batch], engine: Engine, card: ModelCard, *, top: int) -> Iterator[Prediction]:
    number = 0
    for batch in batches:
        logits = engine(batch.images) if len(batch.images) else torch.empty(0)
        for source, outcome in batch.outcomes:
            name = _name(source, number)
            number += 1
            if isinstance(outcome, ImageError):
                yield Prediction(name, error=outcome.reason)
            else:
                yield Prediction(name, top_labels(logits[outcome], card, top=top))


def _name(source: Given, number: int) -> str:
    if isinstance(source, np.ndarray):
        return f"image {number}"
    return source.name if isinstance(source, ImageBytes) else os.fspath(source)
