"""A whole run in seconds: what it learns, what it leaves behind, what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from triscale.arch import NetworkSpec
from triscale.arch.rows import conv, mbconv
from triscale.arch.spec import square
from triscale.data.dataset import ArrayDataset, Splits
from triscale.models.files import load_model
from triscale.models.inputs import Normalise
from triscale.recipes import small
from triscale.train import DataSource, OptimizerSettings, Recipe, Resources, train
from triscale.train.evaluate import Evaluation
from triscale.train.log import read_log
from triscale.train.run_folder import RunFolder

SOURCE = DataSource(name="stripes")
SPEC = NetworkSpec(
    "tiny", square(12), stages=(conv(3, 1, 8), mbconv(3, 2, 2, 8, 2), conv(1, 1, 16)), classes=2, input_channels=1
)


def stripes(count: int, *, seed: int) -> ArrayDataset:
    """Pictures of stripes that lie or stand, in noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    lying = np.tile((np.arange(12) // 2 % 2 * 120)[:, None], (1, 12))
    images = np.stack([lying.T if label else lying for label in labels]) + generator.integers(0, 100, (count, 12, 12))
    return ArrayDataset(images.astype(np.uint8)[..., None], labels.astype(np.int64), ("lying", "standing"))


@pytest.fixture
def data() -> Splits:
    return Splits(stripes(160, seed=0), stripes(40, seed=1))


@pytest.fixture
def recipe() -> Recipe:
    recipe = small(SPEC)
    return replace(
        recipe,
        augmentation=replace(recipe.augmentation, flip=False, padding=1),
        schedule=replace(recipe.schedule, base_rate=0.1),
        batch_size=16,
        batch_norm_images=16,
        epochs=4,
        ema_decay=0.9,
        minival=0.1,
    )


def test_a_run_learns_and_leaves_a_model_that_says_what_it_is(data: Splits, recipe: Recipe, tmp_path: Path) -> None:
    outcome = train(recipe, data, tmp_path / "run", source=SOURCE)
    assert outcome.finished
    assert outcome.total_steps == 4 * (144 // 16)
    assert outcome.validation is not None
    assert outcome.validation.top1 > 0.9
    model = load_model(tmp_path / "run" / "model.safetensors")
    images = torch.from_numpy(data.validation.images)  # type: ignore[attr-defined]
    with torch.inference_mode():
        logits = model.network(Normalise(model.card.preprocessing)(images))
    correct = (logits.argmax(1).numpy() == data.validation.labels).sum()
    assert correct / 40 == outcome.validation.top1, "the file holds the weights that were judged"
    assert model.card.class_names == ("lying", "standing")
    provenance = model.card.provenance
    assert provenance["data"] == "stripes"
    assert provenance["recipe"]["epochs"] == 4
    assert provenance["validation_top1"] == outcome.validation.top1
    assert RunFolder(tmp_path / "run").read() == (recipe, SOURCE)


def test_the_log_tells_every_epoch_and_one_validation(data: Splits, recipe: Recipe, tmp_path: Path) -> None:
    heard: list[tuple[str, int, dict[str, Any]]] = []
    train(recipe, data, tmp_path / "run", source=SOURCE, watch=lambda *told: heard.append(told))
    log = read_log(tmp_path / "run" / "log.jsonl")
    epochs = [row for row in log if row["event"] == "epoch"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4]
    best = max(epochs, key=lambda row: (row["minival_top1"], -row["minival_calibrated_loss"]))
    assert epochs[-1]["best_minival"] == best["minival_top1"]
    assert load_model(tmp_path / "run" / "model.safetensors").card.provenance["epoch"] == best["epoch"]
    assert sum(row["event"] == "validation" for row in log) == 1
    assert sum(event == "step" for event, _, _ in heard) == 4 * 9
    assert [event for event, _, _ in heard if event != "step"] == [row["event"] for row in log]


@pytest.mark.parametrize(
    ("margin", "found", "kept"),
    [
        (0.0, ((0.6, 0.5), (0.8, 0.9), (0.8, 0.7), (0.7, 0.1)), 3),
        # A standard error of 0.8 is 0.062 of 40 images.
        (1.0, ((0.6, 0.5), (0.8, 0.9), (0.75, 0.7), (0.7, 0.1)), 3),
        (1.0, ((0.75, 0.5), (0.8, 0.9), (0.75, 0.7), (0.7, 0.1)), 1),
        (1.0, ((0.75, 0.5), (0.9, 0.9), (0.85, 0.95), (0.7, 0.1)), 2),
        (3.0, ((0.6, 0.5), (0.8, 0.9), (0.75, 0.7), (0.7, 0.1)), 4),
        (1.0, ((1.0, 0.5), (1.0, 0.4), (0.98, 0.3), (0.8, 0.1)), 3),
    ],
)
def test_the_loss_decides_among_results_within_the_margin(
    margin: float,
    found: tuple[tuple[float, float], ...],
    kept: int,
    data: Splits,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = iter(
        Evaluation(images=40, top1=top1, top5=1.0, loss=9.0, calibrated_loss=loss, confusion=torch.eye(2), broken=())
        for top1, loss in found
    )
    monkeypatch.setattr("triscale.train.loop.judge", lambda *_: next(results))
    train(replace(recipe, metric_margin=margin), data, tmp_path / "run", source=SOURCE)
    provenance = load_model(tmp_path / "run" / "model.safetensors").card.provenance
    assert (provenance["epoch"], provenance["minival_top1"]) == (kept, found[kept - 1][0])


def test_a_finished_run_is_not_judged_again(data: Splits, recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, data, tmp_path / "run", source=SOURCE)
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    outcome = train(recipe, data, tmp_path / "run", source=SOURCE, resume=True)
    assert outcome.finished
    assert outcome.validation is None
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert sum(row["event"] == "validation" for row in read_log(tmp_path / "run" / "log.jsonl")) == 1


def test_two_runs_of_one_recipe_give_the_same_weights(data: Splits, recipe: Recipe, tmp_path: Path) -> None:
    for name in ("one", "other"):
        train(recipe, data, tmp_path / name, source=SOURCE)
    one, other = (load_model(tmp_path / name / "model.safetensors").network.state_dict() for name in ("one", "other"))
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_without_a_held_out_part_the_last_weights_are_kept(data: Splits, recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, minival=0.0), data, tmp_path / "run", source=SOURCE)
    assert load_model(tmp_path / "run" / "model.safetensors").card.provenance["epoch"] == 4


def test_the_group_size_is_settled_and_written_down(data: Splits, recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, batch_norm_images=None, epochs=1), data, tmp_path / "run", source=SOURCE)
    settled, _ = RunFolder(tmp_path / "run").read()
    assert settled.batch_norm_images == 16


@pytest.mark.parametrize("compute", [Resources(recompute=True), Resources(workers=1)])
def test_resources_do_not_change_what_is_learnt(
    data: Splits, recipe: Recipe, tmp_path: Path, compute: Resources
) -> None:
    short = replace(recipe, epochs=1, network=replace(SPEC, dropout=0.3, stochastic_depth_rate=0.3))
    for name, resources in (("plain", Resources()), ("other", compute)):
        train(short, data, tmp_path / name, source=SOURCE, resources=resources)
    plain, other = (
        load_model(tmp_path / name / "model.safetensors").network.state_dict() for name in ("plain", "other")
    )
    for name, tensor in plain.items():
        torch.testing.assert_close(tensor, other[name], msg=name)


@pytest.mark.slow
def test_compiling_changes_rounding_alone(data: Splits, recipe: Recipe, tmp_path: Path) -> None:
    # The paper's optimizer: AdamW would make steps of rounding errors in weights whose gradient is zero.
    network = replace(recipe.network, dropout=0.3, stochastic_depth_rate=0.3)
    short = replace(recipe, epochs=1, network=network, optimizer=OptimizerSettings())
    for name, resources in (("plain", Resources()), ("compiled", Resources(compile=True))):
        train(short, data, tmp_path / name, source=SOURCE, resources=resources)
    expected = load_model(tmp_path / "plain" / "model.safetensors").network.state_dict()
    found = load_model(tmp_path / "compiled" / "model.safetensors").network.state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_refusals(data: Splits, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    with pytest.raises(ValueError, match=r"photos is not empty; name another folder with -o"):
        train(recipe, data, tmp_path / "photos", source=SOURCE)
    train(replace(recipe, epochs=1), data, tmp_path / "run", source=SOURCE)
    with pytest.raises(ValueError, match="holds a run already; add --resume"):
        train(replace(recipe, epochs=1), data, tmp_path / "run", source=SOURCE)
    with pytest.raises(ValueError, match="was begun with epochs=1, not 4"):
        train(recipe, data, tmp_path / "run", source=SOURCE, resume=True)
    with pytest.raises(ValueError, match="batch_size 512 is more than the 144 images to train on; set batch_size=14"):
        train(replace(recipe, batch_size=512), data, tmp_path / "large", source=SOURCE)
    with pytest.raises(ValueError, match=r"cannot hold out 200 of 160 images"):
        train(replace(recipe, minival=200), data, tmp_path / "held", source=SOURCE)
