"""A linear probe: a frozen network with a head fitted to its features, as a model like any other."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from triscale.arch.spec import Resolution
from triscale.data.dataset import Labels, Splits, has_many_labels
from triscale.evaluation.many_labels import mean_average_precision
from triscale.models.files import Model, network_with
from triscale.train.recipe import Balance
from triscale.transfer.features import Features, pooled_features
from triscale.transfer.head import Head, fit_head

Watch = Callable[[str, int, int], None]
"""Called with what is done (features, head, validation), how much of it is, and how much there is at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """A probe and how it did on images that it was not fitted to."""

    model: Model
    head: Head
    train: Features
    validation: Features
    scores: Mapping[str, float]
    """Shares of the validation images, 0..1: `top1` and `mean_per_class`, or with many labels `map`."""


def probe(
    model: Model,
    data: Splits,
    *,
    folds: int = 5,
    balance: Balance = Balance.NONE,
    seed: int = 0,
    cache: Path | bool = True,
    batch_size: int | None = None,
    workers: int | None = None,
    device: torch.device | str = "cpu",
    watch: Watch | None = None,
) -> Outcome:
    """Fit a head to what `model`, as it is, sees in `data.train`, and judge it once by `data.validation`.

    Images pass the network once (`pooled_features`); the head's regularisation is chosen within the training images
    (`fit_head`). Raises ValueError as those do.
    """

    def telling(what: str) -> Callable[[int, int], None] | None:
        return None if watch is None else lambda done, most: watch(what, done, most)

    def seen(part: str, what: str) -> Features:
        return pooled_features(
            model,
            getattr(data, part),
            cache=cache,
            batch_size=batch_size,
            workers=workers,
            device=device,
            watch=telling(what),
        )

    train = seen("train", "features")
    names = data.train.class_names
    head = fit_head(
        train.values,
        train.labels,
        classes=len(names),
        folds=folds,
        balance=balance,
        seed=seed,
        watch=telling("head"),
    )
    validation = seen("validation", "validation")
    scores = judge(head.logits(validation.values), validation.labels)
    told = {"images": len(train.labels), "folds": folds, "balance": balance.value, "seed": seed, "validation": scores}
    return Outcome(
        model=head_to_network(model, head, names, told=told),
        head=head,
        train=train,
        validation=validation,
        scores=scores,
    )


def judge(logits: np.ndarray[Any, Any], labels: Labels) -> dict[str, float]:
    """Shares, 0..1, by the name of the metric: top1 and mean_per_class, or map for images with many labels."""
    if has_many_labels(labels):
        return {"map": mean_average_precision(logits, labels)}
    right = logits.argmax(1) == labels
    each = [right[labels == label].mean() for label in np.unique(labels)]
    return {"top1": float(right.mean()), "mean_per_class": float(np.mean(each))}


def head_to_network(
    model: Model, head: Head, class_names: Sequence[str], *, told: Mapping[str, Any] | None = None
) -> Model:
    """A copy of `model` that classifies as `head` does; `model` stays as it is.

    The card gets the class names, how the head was found, with `told` beside it, and where the network came from.
    Raises ValueError where the head does not fit the network or the names.
    """
    classes, features = head.weight.shape
    if features != model.network.num_features:
        name, own = model.network.spec.name, model.network.num_features
        raise ValueError(f"a head of {features} features does not fit {name}, which has {own}")
    if len(class_names) != classes:
        raise ValueError(f"{len(class_names)} class names for a head of {classes} classes")
    network = copy.deepcopy(model.network)
    network.reset_classifier(classes, seed=0)
    classifier = network.get_classifier()
    assert isinstance(classifier, nn.Linear)
    with torch.no_grad():
        classifier.weight.copy_(torch.from_numpy(head.weight))
        classifier.bias.copy_(torch.from_numpy(head.bias))
    found: dict[str, Any] = {
        "regularisation": head.regularisation,
        "cross_validated": head.score,
        "tried": [[one.regularisation, one.loss, one.score] for one in head.tried],
        **(told or {}),
    }
    before: dict[str, Any] = dict(model.card.provenance)
    # What is said of a released classifier, such as its top-1, is not true of this one.
    provenance: dict[str, Any] = {**(before if "from" in before else {"weights": before}), "probe": found}
    if head.thresholds is not None:
        provenance["thresholds"] = list(head.thresholds)
    return Model(network, replace(model.card, class_names=tuple(class_names), provenance=provenance))


def at_resolution(model: Model, resolution: Resolution) -> Model:
    """`model` for images of another size: the same weights, shared, and the same share of each image seen."""
    network, card = model
    spec = replace(network.spec, resolution=resolution)
    other = network_with(spec, network.state_dict(), where=spec.name)
    other.set_memory_format(network.memory_format).train(network.training)
    return Model(other, replace(card, preprocessing=replace(card.preprocessing, resolution=resolution)))
