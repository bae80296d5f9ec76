"""What searches judge networks by: a training by a recipe, in a run folder of its own, and its score."""

import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from triscale.data.dataset import ImageDataset, Splits, hold_out
from triscale.data.datasets import open_dataset
from triscale.models.files import read_description
from triscale.search.job import Failed, Job, Result
from triscale.train.benchmark import training_images_per_s
from triscale.train.loop import Diverged
from triscale.train.recipe import Recipe
from triscale.train.resources import Resources
from triscale.train.run import train
from triscale.train.run_folder import Busy, DataSource, RunFolder

MOST_TOGETHER: Final = 128
"""Images that batch norm takes its statistics from, at most; fewer where a batch is no multiple."""
PACED_S: Final = 2.0
"""How long updates are measured for."""
JUDGED_COST: Final = 1 / 3
"""What judging an image costs beside training on one: the forward pass alone."""
BUSY_S: Final = 60.0
"""How long the folder of a training is waited for that a dying process may still hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingData:
    """Which images trainings of a search use."""

    source: DataSource
    images: int | None = None
    """How many are trained on, drawn class by class; None for all."""
    held_out: float | None = None
    """Part of the training images that judges, so that the validation images stay unseen; None: validation judges."""

    def __post_init__(self) -> None:
        if self.images is not None and self.images < 1:
            raise ValueError(f"images to train on must be at least 1, got {self.images}")
        if self.held_out is not None and not 0 < self.held_out < 1:
            raise ValueError(f"the held-out part must lie between 0 and 1, got {self.held_out}")

    def open(self) -> Splits:
        """What is trained on, and what judges: the same images for every network and every seed.

        Raises ValueError where there are too few.
        """
        root = None if self.source.root is None else Path(self.source.root)
        fraction = self.source.validation_fraction
        data = open_dataset(self.source.name, seed=0, validation_fraction=fraction, root=root)
        train_set: ImageDataset
        train_set, judges = data.train, data.validation
        if self.held_out is not None:
            train_set, judges = hold_out(train_set, count=max(1, round(self.held_out * len(train_set.labels))), seed=0)
        if self.images is not None and self.images > len(train_set.labels):
            raise ValueError(
                f"{self.source.name} has {len(train_set.labels):,} images to train on, not {self.images:,}"
            )
        if self.images is not None and self.images < len(train_set.labels):
            _, train_set = hold_out(train_set, count=self.images, seed=1)
        return Splits(train_set, judges)


@lru_cache(maxsize=1)
def _opened(data: JudgingData) -> Splits:
    return data.open()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvaluator:
    """Trains by `recipe` and judges the weights that it ends with (an `Evaluator`).

    No images choose between epochs, since all candidates train for as long. A training that was cut short goes on
    from its last checkpoint.
    """

    recipe: Recipe
    data: JudgingData
    resources: Resources = field(default_factory=lambda: Resources(workers=0))
    """Images are read by the training's own process, since others train beside it."""

    def __call__(self, job: Job, folder: Path) -> Result:
        """Raises Failed where the loss stays infinite or memory runs out."""
        began_s = time.monotonic()
        data = _opened(self.data)
        recipe = recipe_of(self.recipe, job)
        score = self._score(recipe, data, folder)
        return Result(score=score, images=len(data.validation.labels), seconds=time.monotonic() - began_s)

    def _score(self, recipe: Recipe, data: Splits, folder: Path) -> float:
        until_s = time.monotonic() + BUSY_S
        while True:
            try:
                outcome = train(recipe, data, folder, source=self.data.source, resources=self.resources, resume=True)
                break
            except Busy:
                if time.monotonic() > until_s:
                    raise
                time.sleep(1.0)
            except Diverged as error:
                raise Failed(str(error)) from None
        if outcome.stopped_by is not None:
            raise SystemExit(128 + outcome.stopped_by)
        if outcome.validation is not None:
            return outcome.validation.score(recipe.metric)
        # Finished by a process that died before it could tell.
        _, card = read_description(RunFolder(folder).model)
        return float(card.provenance[f"validation_{recipe.metric.value.replace('-', '_')}"])

    def seconds(self, job: Job) -> float:
        """What training and judging take, from two seconds of updates."""
        data = _opened(self.data)
        recipe = recipe_of(self.recipe, job)
        rate = training_images_per_s(recipe, data.train, resources=self.resources, limit_s=PACED_S)
        seen = recipe.epochs * len(data.train.labels) // recipe.batch_size * recipe.batch_size
        return (seen + JUDGED_COST * len(data.validation.labels)) / rate


def recipe_of(recipe: Recipe, job: Job) -> Recipe:
    """`recipe` for the network, seed and epochs of `job`, without held-out images of its own."""
    network = job.network
    together = next(n for n in range(min(MOST_TOGETHER, recipe.batch_size), 0, -1) if recipe.batch_size % n == 0)
    before, after = min(recipe.network.resolution), min(network.resolution)
    augmentation = replace(recipe.augmentation, padding=round(recipe.augmentation.padding * after / before))
    return replace(
        recipe,
        network=network,
        preprocessing=replace(recipe.preprocessing, resolution=network.resolution),
        augmentation=augmentation,
        batch_norm_images=recipe.batch_norm_images or together,
        minival=0,
        patience=None,
        epochs=recipe.epochs if job.epochs is None else job.epochs,
        evaluate_every_epochs=recipe.epochs if job.epochs is None else job.epochs,
        seed=job.seed,
    )
