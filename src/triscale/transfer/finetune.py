"""Fine-tuning: a trained network, fitted to other classes, learns on from there."""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import Resolution
from triscale.data.dataset import Splits
from triscale.data.errors import ImageError
from triscale.data.read import read_image
from triscale.models.card import ModelCard
from triscale.models.files import Model
from triscale.models.network import assemble
from triscale.models.surgery import adapt
from triscale.train.recipe import Balance, Recipe
from triscale.train.resources import Resources
from triscale.train.run import Outcome, train, training_parts
from triscale.train.run_folder import DataSource, RunFolder, weights_digest
from triscale.train.setting import Watch
from triscale.transfer.features import pooled_features
from triscale.transfer.head import fit_head
from triscale.transfer.probe import head_to_network

LOOKED_AT: Final = 9
"""Images whose sizes are taken for those of a whole dataset."""
SMALL: Final = 64
"""Pixels: images up to this size fill their frame; they are enlarged, and not cropped."""
ENLARGED: Final = 4
"""How many times the side of small images is taken, up to the network's own resolution."""


class Head(StrEnum):
    """What the classifier is when fine-tuning begins."""

    PROBE = "probe"
    """Fitted to the features of the network as it came (`fit_head`); the run can then only do better."""
    RANDOM = "random"


class Shape(NamedTuple):
    """Of the images of a dataset."""

    side: int
    """The larger side of a typical one, in pixels."""
    channels: int | None
    """None for files, which can be read as whatever a network takes."""


def image_shape(data: Splits) -> Shape:
    """What images the network will have to do with, by a few of them, spread over the dataset.

    Raises ValueError where none of them can be read.
    """
    dataset, sides, channels, broken = data.train, [], None, []
    for index in np.linspace(0, len(dataset.labels) - 1, LOOKED_AT).astype(int).tolist():
        try:
            image = dataset.image(index)
            pixels = image if isinstance(image, np.ndarray) else read_image(image)
        except ImageError as error:
            broken.append(error)
            continue
        sides.append(max(pixels.shape[:2]))
        channels = pixels.shape[2] if isinstance(image, np.ndarray) else None
    if not sides:
        raise ValueError(f"none of {len(broken)} images could be read, the first {broken[0]}; try `triscale check`")
    return Shape(int(np.median(sides)), channels)


def fitted(
    model: Model,
    data: Splits,
    *,
    name: str,
    resolution: Resolution | None = None,
    budget: str | None = None,
    seed: int = 0,
) -> Model:
    """A copy of `model` for the classes and channels of `data`; its classifier is fresh unless the classes stay.

    `resolution` defaults to the model's own; for images of up to 64 pixels to four times theirs, at least 96 and at
    most the model's. `name` and `budget`, what the model was chosen by, go into its card. Raises ValueError where no
    image can be read.
    """
    network, card = model
    copy = assemble(network.spec, folded=network.folded)
    copy.load_state_dict(network.state_dict())
    shape, names = image_shape(data), data.train.class_names
    channels = shape.channels or network.spec.input_channels
    changed = adapt(Model(copy.eval(), card), input_channels=channels)
    if card.class_names != names:
        changed.network.reset_classifier(len(names), seed=seed)
    preprocessing = _preprocessing(changed.card.preprocessing, shape, resolution)
    # The spec is frozen; the network carries it.
    changed.network.spec = replace(changed.network.spec, resolution=preprocessing.resolution)
    told = {"from": f"{name}@{weights_digest(network)}", "weights": dict(card.provenance)}
    provenance = told if budget is None else {**told, "budget": budget}
    return Model(changed.network, ModelCard(preprocessing, names, provenance))


def _preprocessing(own: Preprocessing, shape: Shape, resolution: Resolution | None) -> Preprocessing:
    if shape.side <= SMALL:
        enlarged = Resolution(*(min(side, max(96, ENLARGED * shape.side)) for side in own.resolution))
        return replace(own, resolution=resolution or enlarged, crop=1.0)
    return replace(own, resolution=resolution or own.resolution)


def with_probed_head(model: Model, data: Splits, recipe: Recipe, *, watch: Watch | None = None) -> Model:
    """`model` with a classifier fitted to the features of the images that `recipe` trains on, not of those held out."""

    def tell(what: str) -> Callable[[int, int], None]:
        return lambda done, total: watch(what, 0, {"done": done, "total": total}) if watch else None

    part, _ = training_parts(recipe, data.train)
    features = pooled_features(model, part, watch=tell("features"))
    balance = Balance.NONE if recipe.balance is Balance.NONE else Balance.WEIGHTS
    head = fit_head(
        features.values,
        features.labels,
        classes=len(data.train.class_names),
        balance=balance,
        seed=recipe.seed,
        watch=tell("head"),
    )
    return head_to_network(model, head, data.train.class_names)


def finetune(
    recipe: Recipe,
    data: Splits,
    path: Path,
    *,
    model: Model,
    source: DataSource,
    head: Head = Head.PROBE,
    resources: Resources | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Train `model`, `fitted` to `data`, on by `recipe` in the run folder `path`.

    The classifier is first fitted to the network's features, unless `head` says otherwise; `watch` hears of "features"
    and "head", with what is done and what there is to do. Guarantees and errors are those of `train`.
    """
    folder = RunFolder(path)
    start = None
    if folder.exists:
        recipe = replace(recipe, start=folder.read()[0].start)
    else:
        start = with_probed_head(model, data, recipe, watch=watch) if head is Head.PROBE else model
        name = str(model.card.provenance.get("from", model.network.spec.name)).partition("@")[0]
        recipe = replace(recipe, start=f"{name}@{weights_digest(start.network)}")
    return train(recipe, data, path, source=source, start=start, resources=resources, resume=resume, watch=watch)
