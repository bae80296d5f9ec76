"""Fine-tuning: a trained network, fitted to other classes, learns on from there."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from triscale.arch.spec import Resolution
from triscale.data.dataset import Splits
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
from triscale.transfer.shape import image_shape, suited


class Head(StrEnum):
    """What the classifier is when fine-tuning begins."""

    PROBE = "probe"
    """Fitted to the features of the network as it came (`fit_head`); the run can then only do better."""
    RANDOM = "random"


def fitted(
    model: Model,
    data: Splits,
    *,
    name: str,
    resolution: Resolution | None = None,
    told: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Model:
    """A copy of `model` for the classes and channels of `data`; its classifier is fresh unless the classes stay.

    What `resolution` defaults to depends on the images (`suited`). The model's `name`, and what else is `told` of why
    it was taken, go into the card. Raises ValueError where no image can be read.
    """
    network, card = model
    copy = assemble(network.spec, folded=network.folded)
    copy.load_state_dict(network.state_dict())
    shape, names = image_shape(data.train), data.train.class_names
    channels = shape.channels or network.spec.input_channels
    changed = adapt(Model(copy.eval(), card), input_channels=channels)
    if card.class_names != names:
        changed.network.reset_classifier(len(names), seed=seed)
    preprocessing = suited(changed.card.preprocessing, shape, resolution)
    # The spec is frozen; the network carries it.
    changed.network.spec = replace(changed.network.spec, resolution=preprocessing.resolution)
    origin = {"from": f"{name}@{weights_digest(network)}", "weights": dict(card.provenance)}
    return Model(changed.network, ModelCard(preprocessing, names, {**origin, **(told or {})}))


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
