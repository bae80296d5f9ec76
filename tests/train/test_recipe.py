"""Recipes as data: exact round trips, fields set by name, and what makes no sense refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from triscale.arch import get_network
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import square
from triscale.data.augmentation import CropKind, Policy
from triscale.recipes import RECIPES, imagenet, small
from triscale.train.recipe import (
    OptimizerKind,
    OptimizerSettings,
    Recipe,
    first_difference,
    recipe_from_json,
    recipe_to_json,
    with_settings,
)
from triscale.train.schedule import ScheduleKind, rate

B0 = get_network("efficientnet-b0")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_a_round_trip(name: str) -> None:
    recipe = RECIPES[name](B0)
    assert recipe_from_json(recipe_to_json(recipe)) == recipe


@given(st.floats(0, 0.99), st.integers(1, 1 << 20), st.integers(0, (1 << 63) - 1), st.sampled_from(list(OptimizerKind)))
@settings(deadline=None)
def test_any_recipe_survives_a_round_trip(smoothing: float, epochs: int, seed: int, kind: OptimizerKind) -> None:
    recipe = replace(
        imagenet(B0), label_smoothing=smoothing, epochs=epochs, seed=seed, optimizer=OptimizerSettings(kind=kind)
    )
    assert recipe_from_json(recipe_to_json(recipe)) == recipe


@pytest.mark.parametrize(
    ("number", "dropout", "crop"),
    # The dropout of the paper's section 5.2, in the authors' steps; the crop is size / (size + 32).
    [
        (0, 0.2, 0.875),
        (1, 0.2, 0.882),
        (2, 0.3, 0.890),
        (3, 0.3, 0.904),
        (4, 0.4, 0.922),
        (5, 0.4, 0.934),
        (6, 0.5, 0.943),
        (7, 0.5, 0.949),
    ],
)
def test_the_imagenet_recipe_is_the_papers(number: int, dropout: float, crop: float) -> None:
    recipe = imagenet(get_network(f"efficientnet-b{number}"))
    assert recipe.network.dropout == dropout
    assert recipe.network.stochastic_depth_rate == pytest.approx(0.2)
    assert recipe.network.norm_momentum == pytest.approx(1 - 0.99)
    assert recipe.network.norm_epsilon == 1e-3
    assert recipe.preprocessing.crop == pytest.approx(crop, abs=5e-4)
    assert recipe.augmentation.policy is Policy.AUTOAUGMENT
    assert recipe.augmentation.crop is CropKind.RANDOM_RESIZED
    optimizer = recipe.optimizer
    assert (optimizer.kind, optimizer.decay, optimizer.momentum) == (OptimizerKind.RMSPROP, 0.9, 0.9)
    assert (optimizer.epsilon, optimizer.weight_decay, optimizer.decay_biases) == (1e-3, 1e-5, True)
    assert (recipe.label_smoothing, recipe.ema_decay, recipe.minival) == (0.1, 0.9999, 25_000)
    assert recipe.held_out_images(1_281_167) == 25_000


def test_the_papers_learning_rate_is_0256_for_4096_images() -> None:
    recipe = imagenet(B0)
    assert recipe.schedule.kind is ScheduleKind.EXPONENTIAL
    steps_per_epoch = 1_281_167 // 4096
    rates = [
        rate(recipe.schedule, step=step, steps_per_epoch=steps_per_epoch, total_steps=10**6, batch_size=4096)
        for step in (0, int(2.5 * steps_per_epoch), 5 * steps_per_epoch)
    ]
    assert rates[0] == 0
    assert rates[1] == pytest.approx(0.128, rel=1e-3)
    assert rates[2] == pytest.approx(0.256 * 0.97**2)


@pytest.mark.parametrize(
    ("pixels", "strides"), [(28, "112221111"), (32, "112221111"), (56, "112221211"), (64, "112221211")]
)
def test_small_images_keep_their_resolution_in_the_stem(pixels: int, strides: str) -> None:
    stages = small(replace(B0, resolution=square(pixels))).network.stages
    assert "".join(str(stage.stride) for stage in stages) == strides
    assert [replace(stage, stride=1) for stage in stages] == [replace(stage, stride=1) for stage in B0.stages]


def test_every_field_can_be_set() -> None:
    recipe = with_settings(
        small(B0),
        [
            "epochs=7",
            "optimizer.kind=sgd",
            "optimizer.weight_decay=1e-4",
            "schedule.warmup_epochs=2",
            "augmentation.flip=false",
            "batch_norm_images=64",
            "network.dropout=0.5",
            "network.stages.0.stride=1",
            "preprocessing.mean=[0.1,0.2,0.3]",
        ],
    )
    assert recipe.epochs == 7
    assert recipe.optimizer.kind is OptimizerKind.SGD
    assert recipe.optimizer.weight_decay == 1e-4
    assert recipe.schedule.warmup_epochs == 2
    assert recipe.augmentation.flip is False
    assert recipe.batch_norm_images == 64
    assert recipe.network.dropout == 0.5
    assert recipe.preprocessing.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("epoch=3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("optimizer.momentun=3", "did you mean 'momentum'?"),
        ("network.stages.99.stride=1", "recipe.network.stages has no 99; it counts from 0 to 8"),
        ("epochs", "write FIELD=VALUE"),
        ("epochs=many", "must be a whole number"),
        ("epochs=0", "epochs must be at least 1, got 0"),
        ("epochs.deep=1", "recipe.epochs holds no fields"),
        ("optimizer.kind=adam", "did you mean 'adamw'?"),
        ("label_smoothing=1", "label_smoothing must lie in 0..1"),
        ("batch_norm_images=100", "must be a multiple of batch_norm_images 100"),
        ("seed=-1", "seed must lie in"),
        ("network.classes=1", "at least 2 classes"),
        ("network.input_channels=1", "takes 1 channels, preprocessing gives 3"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(setting: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        with_settings(imagenet(B0), [setting])
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "no Triscale recipe"),
        ('{"format": "triscale-recipe", "version": 2}', "recipe version 2"),
        ('{"format": "triscale-recipe", "version": 1}', "missing network"),
    ],
)
def test_other_files_are_no_recipes(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        recipe_from_json(text, where="some.json")


def test_an_unknown_key_of_a_file_is_named() -> None:
    data = json.loads(recipe_to_json(imagenet(B0)))
    data["schedule"]["warm_up"] = 3
    with pytest.raises(ValueError, match="unknown key 'warm_up'"):
        recipe_from_json(json.dumps(data))


def test_minival_is_a_part_or_a_number() -> None:
    recipe = small(B0)
    assert replace(recipe, minival=0.05).held_out_images(1000) == 50
    assert replace(recipe, minival=120).held_out_images(1000) == 120
    assert replace(recipe, minival=0).held_out_images(1000) == 0


def test_the_first_difference_is_named() -> None:
    assert first_difference({"a": 1, "b": {"c": [1]}}, {"a": 1, "b": {"c": [2]}}) == "b.c=[1], not [2]"
    assert first_difference({"a": 1}, {"a": 1}) == ""


def test_a_network_and_its_images_agree_on_channels() -> None:
    with pytest.raises(ValueError, match="takes 3 channels, preprocessing gives 1"):
        Recipe(network=B0, preprocessing=Preprocessing(B0.resolution, mean=(0.5,), std=(0.25,)))
