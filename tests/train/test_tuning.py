"""Fine-tuning: which stages learn when and how fast, kept statistics, and runs that start from trained weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.train.test_resume import train_in_parts
from tests.train.tiny import SOURCE, SPEC, assert_same_run, described, recipe, splits
from triscale.arch.spec import Padding
from triscale.data.dataset import ArrayDataset, Metric, Splits
from triscale.deploy.predict import predict
from triscale.evaluation.many_labels import mean_average_precision
from triscale.models.card import ModelCard
from triscale.models.files import Model, load_model, save_model
from triscale.models.network import Network, build
from triscale.train import Recipe, train
from triscale.train.log import read_log
from triscale.train.loss import class_weights, positive_weights, smoothed_binary_cross_entropy
from triscale.train.recipe import Balance, Objective
from triscale.train.run_folder import RunFolder, weights_digest
from triscale.train.state import TrainState
from triscale.train.tuning import BatchStatistics, FineTuning, let_learn

CPU = torch.device("cpu")
FROZEN = FineTuning(statistics=BatchStatistics.FROZEN)


@pytest.mark.parametrize(
    ("tuning", "epochs", "first"),
    [
        (FineTuning(), (0, 1, 9), (0, 0, 0)),
        (FineTuning(frozen_stages=2), (0, 5), (2, 2)),
        (FineTuning(frozen_stages=99), (0, 5), (8, 8)),
        (FineTuning(head_epochs=2), (0, 1.99, 2), (8, 8, 0)),
        (FineTuning(head_epochs=1, thaw_epochs=4), (0.5, 1, 1.49, 1.5, 2, 4.5, 5), (8, 7, 7, 6, 5, 0, 0)),
        (FineTuning(frozen_stages=6, head_epochs=1, thaw_epochs=4), (0.5, 1, 2.9, 3, 5), (8, 7, 7, 6, 6)),
    ],
)
def test_stages_follow_at_equal_distances(
    tuning: FineTuning, epochs: tuple[float, ...], first: tuple[int, ...]
) -> None:
    assert tuple(tuning.first_learning_stage(8, epoch=epoch) for epoch in epochs) == first


def trained(spec_padding: Padding = Padding.SAME) -> Network:
    """A network in float64 whose statistics are not those of its images."""
    network = build(replace(SPEC, padding=spec_padding, dropout=0.0, stochastic_depth_rate=0.0), seed=1).double()
    drawing = torch.Generator().manual_seed(2)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(generator=drawing)
            norm.running_var.uniform_(0.5, 2.0, generator=drawing)
    return network


def gradients(network: Network, images: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    logits = network(images)
    torch.autograd.backward(logits.square().sum())
    found = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    return {"logits": logits.detach(), **found}


@pytest.mark.parametrize("padding", list(Padding))
def test_kept_statistics_give_what_plain_modules_give(padding: Padding) -> None:
    images = torch.randn(4, 1, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    plain = trained(padding).eval()
    merged = trained(padding)
    let_learn(merged, FROZEN, first=0)
    expected, found = gradients(plain, images), gradients(merged, images)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9, msg=name)
    before = plain.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in merged.state_dict().items())


def test_resting_stages_stay_as_they_are(tmp_path: Path) -> None:
    asked = recipe(fine_tuning=FineTuning(frozen_stages=2), ema_decay=0.9)
    train(asked, splits(), tmp_path / "run", source=SOURCE)
    found = load_model(tmp_path / "run" / "model.safetensors").network.state_dict()
    for name, start in build(SPEC, seed=asked.seed).state_dict().items():
        rests = name.startswith(("stages.0.", "stages.1."))
        assert torch.equal(found[name], start) == rests or "num_batches" in name, name


def test_rates_fall_from_the_classifier_to_the_images() -> None:
    state = TrainState(recipe(fine_tuning=FineTuning(stage_decay=0.5)), CPU)
    state.set_rate(0.8)
    rates = {
        name: group["lr"]
        for group in state.optimizer.param_groups
        for name, parameter in state.network.named_parameters()
        if any(parameter is member for member in group["params"])
    }
    assert set(rates) == {name for name, _ in state.network.named_parameters()}
    expected = {"classifier": 0.8, "stages.2": 0.4, "stages.1": 0.2, "stages.0": 0.1}
    assert rates == {name: next(expected[part] for part in expected if name.startswith(part)) for name in rates}


def started() -> tuple[Recipe, Model]:
    """What a run from trained weights needs."""
    model = Model(build(SPEC, seed=9), ModelCard(recipe().preprocessing, ("lying", "standing")))
    return recipe(start=f"other@{weights_digest(model.network)}"), model


def test_a_run_from_trained_weights_needs_them_once(tmp_path: Path) -> None:
    asked, model = started()
    train(asked, splits(), tmp_path / "whole", source=SOURCE, start=model)
    train_in_parts(asked, tmp_path / "parts", [1, 3, 7], start=model)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    rows = read_log(tmp_path / "whole" / "log.jsonl")
    assert [row["event"] for row in rows].index("start") < [row["event"] for row in rows].index("train")
    assert described(tmp_path / "whole" / "model.safetensors")["provenance"]["from"] == asked.start


def test_the_start_is_kept_where_nothing_is_better(tmp_path: Path) -> None:
    train(recipe(epochs=6), splits(), tmp_path / "first", source=SOURCE)
    model = load_model(tmp_path / "first" / "model.safetensors")
    asked = recipe(
        start=f"first@{weights_digest(model.network)}",
        schedule=replace(recipe().schedule, base_rate=100.0, warmup_epochs=0.0),
        patience=1,
        epochs=50,
    )
    outcome = train(asked, splits(), tmp_path / "worse", source=SOURCE, start=model)
    assert outcome.finished
    assert outcome.step == 4, "one epoch without a better result was enough"
    assert "ended early" in [row["event"] for row in read_log(tmp_path / "worse" / "log.jsonl")]
    kept = load_model(tmp_path / "worse" / "model.safetensors").network
    assert weights_digest(kept) == weights_digest(model.network)


def test_other_start_weights_are_refused(tmp_path: Path) -> None:
    asked, model = started()
    with pytest.raises(ValueError, match="names its start"):
        train(asked, splits(), tmp_path / "none", source=SOURCE)
    with pytest.raises(ValueError, match="names its start"):
        train(recipe(), splits(), tmp_path / "unnamed", source=SOURCE, start=model)
    train(asked, splits(), tmp_path / "run", source=SOURCE, start=model)
    save_model(RunFolder(tmp_path / "run").start, build(SPEC, seed=8), model.card)
    with pytest.raises(ValueError, match="other weights than the run"):
        train(asked, splits(), tmp_path / "run", source=SOURCE, resume=True)


def several(count: int, *, seed: int) -> ArrayDataset:
    """Stripes that lie, that stand, or both, or neither, in noise; as many labels."""
    drawing = np.random.default_rng(seed)
    labels = drawing.integers(0, 2, (count, 2)).astype(np.uint8)
    lying = np.tile((np.arange(12) // 2 % 2 * 60)[:, None], (1, 12))
    clean = labels[:, 0, None, None] * lying + labels[:, 1, None, None] * lying.T
    images = (clean + drawing.integers(0, 60, clean.shape)).astype(np.uint8)
    return ArrayDataset(images[..., None], labels, ("lying", "standing"))


def test_images_with_many_labels(tmp_path: Path) -> None:
    picture = tmp_path / "both.png"
    Image.fromarray(several(8, seed=3).images[0, ..., 0]).save(picture)
    data = Splits(several(144, seed=0), several(40, seed=1))
    asked = recipe(
        objective=Objective.MANY_LABELS,
        metric=Metric.MEAN_AVERAGE_PRECISION,
        balance=Balance.WEIGHTS,
        network=replace(SPEC, dropout=0.0, stochastic_depth_rate=0.0),
        augmentation=replace(recipe().augmentation, flip=False),
        epochs=8,
    )
    outcome = train(asked, data, tmp_path / "run", source=SOURCE)
    assert outcome.validation is not None
    score = outcome.validation.score(Metric.MEAN_AVERAGE_PRECISION)
    chance = mean_average_precision(np.zeros((40, 2)), data.validation.labels)
    assert score > chance + 0.2
    provenance = described(tmp_path / "run" / "model.safetensors")["provenance"]
    assert provenance["validation_map"] == score
    assert all(0 < threshold < 1 for threshold in provenance["thresholds"])
    answer = next(iter(predict(load_model(tmp_path / "run" / "model.safetensors"), [picture])))
    assert sum(label.probability for label in answer.labels) != pytest.approx(1), "each class for itself"
    with pytest.raises(ValueError, match="set objective=one-label"):
        train(asked, splits(), tmp_path / "other", source=SOURCE)


def test_weights_even_classes_out() -> None:
    weights = class_weights([90, 10, 0])
    assert weights.tolist() == pytest.approx([100 / 180, 100 / 20, 0])
    assert (weights * torch.tensor([90, 10, 0])).sum() == pytest.approx(100)
    assert positive_weights([50, 10, 0], images=100).tolist() == pytest.approx([1, 9, 100])


def test_binary_cross_entropy_of_smoothed_targets() -> None:
    logits, targets = torch.tensor([[2.0, -1.0]]), torch.tensor([[1, 0]])
    chances = torch.sigmoid(logits)
    wanted = torch.tensor([[0.95, 0.05]])
    by_hand = -(wanted * chances.log() * torch.tensor([3.0, 1.0]) + (1 - wanted) * (1 - chances).log()).sum()
    found = smoothed_binary_cross_entropy(logits, targets, smoothing=0.1, positive_weights=torch.tensor([3.0, 1.0]))
    assert found.item() == pytest.approx(by_hand.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"metric": Metric.MEAN_AVERAGE_PRECISION}, "with objective one-label, metric must be top1"),
        ({"objective": Objective.MANY_LABELS}, "metric must be map"),
        ({"patience": 0}, "patience must be at least 1"),
        (
            {
                "objective": Objective.MANY_LABELS,
                "metric": Metric.MEAN_AVERAGE_PRECISION,
                "balance": Balance.SAMPLING,
            },
            "set balance=weights",
        ),
    ],
)
def test_recipes_that_make_no_sense(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        recipe(**changes)
