"""Fine-tuning tiny networks: what they are fitted to, where a run begins, and that a stop changes nothing."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.test_resume import stopping_after
from tests.train.tiny import SOURCE, SPEC, assert_same_run, recipe, splits, stripes
from triscale.arch.spec import Resolution, square
from triscale.data.dataset import ArrayDataset, Splits
from triscale.models.card import ModelCard
from triscale.models.files import Model, load_model
from triscale.models.network import build
from triscale.recipes import finetune as finetune_recipes
from triscale.run_log import read_log
from triscale.train import Recipe
from triscale.train.recipe import recipe_from_json, recipe_to_json
from triscale.transfer.finetune import Head, finetune, fitted
from triscale.transfer.shape import image_shape

PREPROCESSING = recipe().preprocessing


def pictures(*shape: int, classes: int = 2, seed: int = 0) -> Splits:
    """Noise of that shape, an image of each class in turn."""
    images = np.random.default_rng(seed).integers(0, 256, (8 * classes, *shape)).astype(np.uint8)
    labels = np.arange(len(images)) % classes
    part = ArrayDataset(images, labels.astype(np.int64), tuple(f"class {label}" for label in range(classes)))
    return Splits(part, part)


def model(*, resolution: Resolution = square(12), classes: int = 3) -> Model:
    """Random weights under a card with other classes."""
    network = build(replace(SPEC, classes=classes, resolution=resolution), seed=4).eval()
    names = ("lying", "standing", "neither")[:classes]
    return Model(network, ModelCard(replace(PREPROCESSING, resolution=resolution), names))


def asked(own: Model, **changes: Any) -> Recipe:
    """The tests' quick recipe for a fitted network."""
    spec = own.network.spec
    return recipe(network=spec, preprocessing=own.card.preprocessing, **changes)


def test_a_network_is_fitted_to_the_data() -> None:
    own = model(resolution=square(224))
    changed = fitted(own, pictures(28, 20, 3, classes=5), name="m")
    assert changed.network.spec.classes == 5
    assert changed.network.spec.input_channels == len(changed.card.preprocessing.mean) == 3
    assert changed.card.class_names == tuple(f"class {label}" for label in range(5))
    assert changed.network.spec.resolution == changed.card.preprocessing.resolution == square(112)
    assert changed.card.preprocessing.crop == 1.0
    # Three equal channels give what one gave: every channel has a third of the weight.
    first = own.network.state_dict()["stages.0.0.branch.conv.weight"]
    assert torch.allclose(changed.network.state_dict()["stages.0.0.branch.conv.weight"].sum(1, keepdim=True), first)
    assert own.network.spec.classes == 3, "the model itself stays as it was"


def test_large_images_take_the_networks_own_resolution() -> None:
    data = pictures(80, 100, 1)
    assert image_shape(data.train) == (100, 1)
    assert fitted(model(), data, name="m").network.spec.resolution == square(12)
    chosen = fitted(model(), data, name="m", resolution=Resolution(24, 40))
    assert chosen.network.spec.resolution == chosen.card.preprocessing.resolution == (24, 40)
    assert chosen.network(torch.zeros(1, 1, 24, 40)).shape == (1, 2)


def test_the_same_classes_keep_their_classifier() -> None:
    data = Splits(stripes(8, seed=0), stripes(8, seed=1))
    own = model(classes=2)
    assert torch.equal(
        fitted(own, data, name="m").network.state_dict()["classifier.weight"], own.network.classifier.weight
    )


def test_a_run_begins_with_a_fitted_classifier(tmp_path: Path) -> None:
    own = fitted(model(), splits(), name="m")
    run = asked(own, schedule=replace(recipe().schedule, base_rate=1e-9))
    finetune(run, splits(), tmp_path / "run", model=own, source=SOURCE)
    rows = read_log(tmp_path / "run" / "log.jsonl")
    start = next(row for row in rows if row["event"] == "start")
    assert start["minival_top1"] > 0.8, "features of random weights tell stripes that lie from those that stand"
    finetune(run, splits(), tmp_path / "random", model=own, source=SOURCE, head=Head.RANDOM)
    kept = load_model(tmp_path / "random" / "start.safetensors").network.state_dict()
    assert torch.equal(kept["classifier.weight"], own.network.state_dict()["classifier.weight"])


def test_a_stop_changes_nothing(tmp_path: Path) -> None:
    own = fitted(model(), splits(), name="m")
    run = asked(own)
    finetune(run, splits(), tmp_path / "whole", model=own, source=SOURCE)
    for number, stop in enumerate((2, 7, None)):
        watch = None if stop is None else stopping_after(stop)
        outcome = finetune(run, splits(), tmp_path / "parts", model=own, source=SOURCE, resume=number > 0, watch=watch)
        assert outcome.stopped_by == (None if stop is None else signal.SIGTERM)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_second_run_needs_another_folder(tmp_path: Path) -> None:
    own = fitted(model(), splits(), name="m")
    finetune(asked(own), splits(), tmp_path / "run", model=own, source=SOURCE)
    with pytest.raises(ValueError, match="holds a run already"):
        finetune(asked(own), splits(), tmp_path / "run", model=own, source=SOURCE)


@pytest.mark.parametrize("name", finetune_recipes.FINETUNE_RECIPES)
@pytest.mark.parametrize("images", [3, 40, 400, 5_000, 100_000])
def test_recipes_fit_any_number_of_images(name: str, images: int) -> None:
    own = fitted(model(), splits(), name="m")
    made = finetune_recipes.FINETUNE_RECIPES[name](own.network.spec, own.card.preprocessing, images=images, side=28)
    assert recipe_from_json(recipe_to_json(made)) == made
    assert 1 <= made.batch_size <= max(1, images - made.held_out_images(images))


def test_kornblith_makes_twenty_thousand_updates() -> None:
    own = fitted(model(), splits(), name="m")
    made = finetune_recipes.kornblith(own.network.spec, own.card.preprocessing, images=8_144, side=300)
    assert made.epochs * (8_144 // made.batch_size) == pytest.approx(20_000, rel=0.01)
    assert made.network.norm_momentum == pytest.approx(0.1), "31 updates an epoch: max(1 - 10 / 31, 0.9) = 0.9"
