"""What a recipe minimises, counts as correct, and chooses the best weights by."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from triscale.data.dataset import Labels, class_counts, has_many_labels
from triscale.train.loss import (
    Loss,
    class_weights,
    positive_weights,
    smoothed_binary_cross_entropy,
    smoothed_cross_entropy,
)
from triscale.train.recipe import Balance, Objective, Recipe


class Target(NamedTuple):
    """How logits are held against labels in training."""

    loss: Loss
    correct: Callable[[Tensor, Tensor], Tensor]
    """How many of (N, classes) logits have the labels exactly right."""


def target(recipe: Recipe, labels: Labels, device: torch.device) -> Target:
    """What `recipe` has its network learn from images with `labels`.

    Raises ValueError where the images carry another kind of labels than the recipe is for.
    """
    many = recipe.objective is Objective.MANY_LABELS
    if many != has_many_labels(labels):
        fitting = Objective.ONE_LABEL if many else Objective.MANY_LABELS
        raise ValueError(f"the recipe is for images with {recipe.objective}; for these set objective={fitting}")
    weighted = recipe.balance is Balance.WEIGHTS
    counts = class_counts(labels, recipe.network.classes) if weighted else ()
    if many:
        weights = positive_weights(counts, images=len(labels)).to(device) if weighted else None
        return Target(
            partial(smoothed_binary_cross_entropy, smoothing=recipe.label_smoothing, positive_weights=weights),
            lambda logits, labels: ((logits > 0) == (labels > 0)).all(1).sum(),
        )
    weights = class_weights(counts).to(device) if weighted else None
    return Target(
        partial(smoothed_cross_entropy, smoothing=recipe.label_smoothing, weights=weights, reduction="sum"),
        lambda logits, labels: (logits.argmax(1) == labels).sum(),
    )
