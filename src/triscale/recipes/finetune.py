"""Recipes for networks that were trained before, from a few dozen to a few hundred thousand images."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import NetworkSpec
from triscale.data.augmentation import SMALL, Augmentation, CropKind, Policy
from triscale.train.recipe import OptimizerKind, OptimizerSettings, Recipe
from triscale.train.schedule import Schedule, ScheduleKind
from triscale.train.tuning import BatchStatistics, FineTuning

IMAGES_SEEN: Final = 6_000
"""What a run on few images passes through the network in all, repeated; on many each is seen `FEWEST_EPOCHS` times."""
FEWEST_EPOCHS, MOST_EPOCHS = 4, 20
FEW_IMAGES: Final = 20_000
"""Below, batch norms keep the statistics that the network came with."""

FinetuneRecipe = Callable[..., Recipe]
"""From a network, its preprocessing, the number of images and the larger side of one, in pixels, to a recipe."""


def finetune(network: NetworkSpec, preprocessing: Preprocessing, *, images: int, side: int) -> Recipe:
    """AdamW and a cosine: a few minutes on two cores for a few hundred photographs.

    Meant for a network whose classifier was fitted to its features first (Kumar et al. 2022): rates are low, and
    lower from stage to stage towards the images, whose stem and first stages keep what ImageNet taught them.
    """
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(IMAGES_SEEN / max(1, images))))
    batch_size = 32 if images >= 256 else max(1, min(16, images // 4))
    peak = 3e-4
    return Recipe(
        network=network,
        preprocessing=preprocessing,
        augmentation=gentle(preprocessing, side=side, colour=network.input_channels > 1),
        optimizer=OptimizerSettings(
            kind=OptimizerKind.ADAMW, decay=0.999, epsilon=1e-8, weight_decay=0.02, decay_biases=False
        ),
        schedule=Schedule(kind=ScheduleKind.COSINE, base_rate=peak * 256 / batch_size, warmup_epochs=1.0),
        batch_size=batch_size,
        epochs=epochs,
        ema_decay=0.98,
        minival=0.15 if images < 2_000 else 0.1,
        metric_margin=1.0,
        patience=max(3, epochs * 2 // 3),
        fine_tuning=FineTuning(
            frozen_stages=min(3, len(network.stages) - 1),
            stage_decay=0.8,
            statistics=BatchStatistics.FROZEN if images < FEW_IMAGES else BatchStatistics.BATCH,
        ),
    )


def gentle(preprocessing: Preprocessing, *, side: int, colour: bool) -> Augmentation:
    """Crops that leave most of an object in the frame; small images are shifted, and flipped only in colour.

    Left and right matter in letters and digits, which are small and grey.
    """
    if side <= SMALL:
        padding = min(preprocessing.resolution) // 14
        return Augmentation(crop=CropKind.SHIFT, padding=padding, policy=Policy.NONE, flip=colour)
    return Augmentation(area=(0.35, 1.0), policy=Policy.NONE)


def kornblith(network: NetworkSpec, preprocessing: Preprocessing, *, images: int, side: int) -> Recipe:  # noqa: ARG001
    """The settings that the paper borrows for its transfer results (section 5.3).

    From Kornblith et al. 2019, "Do Better ImageNet Models Transfer Better?", section 3.3 and appendix: SGD with
    Nesterov momentum, a cosine over 20,000 updates of 256 images, random crops and flips, everything learning from the
    start, batch norm's momentum max(1 - 10 / s, 0.9) where an epoch has s updates. They searched the learning rate over
    1e-4..1e-1 and the weight decay over 0 and 1e-6..1e-3 a unit of rate; here are the middles: set schedule.base_rate
    and optimizer.weight_decay for others.

    For GPUs: on two cores 5 million images take days.
    """
    updates, batch_size = 20_000, min(256, max(1, images * 9 // 10))
    per_epoch = max(1, images // batch_size)
    return Recipe(
        network=replace(network, norm_momentum=1 - max(1 - 10 / per_epoch, 0.9)),
        preprocessing=preprocessing,
        augmentation=Augmentation(policy=Policy.NONE),
        optimizer=OptimizerSettings(kind=OptimizerKind.SGD, weight_decay=1e-4),
        schedule=Schedule(kind=ScheduleKind.COSINE, base_rate=0.01, warmup_epochs=0.0),
        batch_size=batch_size,
        epochs=max(1, round(updates / per_epoch)),
        label_smoothing=0.0,
        ema_decay=0.0,
        minival=0.1,
        evaluate_every_epochs=max(1, round(updates / per_epoch / 40)),
    )


FINETUNE_RECIPES: Final[dict[str, FinetuneRecipe]] = {"finetune": finetune, "kornblith": kornblith}
"""By the name that the command line takes."""
