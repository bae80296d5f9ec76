"""Probes: the head inside the network answers as the head alone, and what the card says of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.rows import conv, mbconv
from triscale.arch.spec import NetworkSpec, Resolution, square
from triscale.data.dataset import ArrayDataset, Splits
from triscale.deploy.eager import eager_engine
from triscale.models import Model, ModelCard, build, load_model, save_model
from triscale.train.recipe import Balance
from triscale.transfer.head import fit_head
from triscale.transfer.probe import at_resolution, head_to_network, judge, probe

SIDE = 12
SPEC = NetworkSpec("tiny", square(SIDE), stages=(conv(3, 2, 8), mbconv(3, 2, 2, 8, 2), conv(1, 1, 24)), classes=5)


def stripes(count: int, *, seed: int) -> ArrayDataset:
    """Noise, and stripes that lie or stand in it."""
    chance = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    bars = np.tile(np.arange(SIDE) // 3 % 2 * 60, (SIDE, 1))
    patterns = np.stack([np.zeros_like(bars), bars, bars.T])
    images = patterns[labels] + chance.normal(100, 20, (count, SIDE, SIDE))
    pixels = np.clip(images, 0, 255).astype(np.uint8)[..., None].repeat(3, 3)
    return ArrayDataset(pixels, labels.astype(np.int64), ("noise", "standing", "lying"))


@pytest.fixture
def model() -> Model:
    network = build(SPEC, seed=2)
    with torch.no_grad():
        network(torch.randn(32, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    card = ModelCard(Preprocessing(square(SIDE), crop=1.0), tuple("abcde"), {"source": "somewhere", "top1": 12.0})
    return Model(network.eval(), card)


def test_probe_learns_and_its_model_answers_as_the_head(model: Model, tmp_path: Path) -> None:
    data = Splits(stripes(90, seed=0), stripes(60, seed=1))
    told: list[tuple[str, int, int]] = []
    outcome = probe(model, data, cache=tmp_path / "cache", folds=3, watch=lambda *what: told.append(what))
    assert outcome.scores["top1"] > 0.9
    logits = eager_engine(outcome.model)(data.validation.images)
    np.testing.assert_allclose(logits, outcome.head.logits(outcome.validation.values), rtol=1e-4, atol=1e-4)
    assert outcome.scores["top1"] == float((logits.argmax(1).numpy() == data.validation.labels).mean())
    assert list(dict.fromkeys(what for what, _, _ in told)) == ["features", "head", "validation"]
    again = probe(model, data, cache=tmp_path / "cache", folds=3)
    assert (again.train.computed, again.validation.computed) == (0, 0)
    np.testing.assert_array_equal(again.head.weight, outcome.head.weight)


def test_model_file_says_where_the_head_comes_from(model: Model, tmp_path: Path) -> None:
    data = Splits(stripes(60, seed=0), stripes(30, seed=1))
    outcome = probe(model, data, cache=False, balance=Balance.WEIGHTS)
    save_model(tmp_path / "probe.safetensors", *outcome.model)
    network, card = load_model(tmp_path / "probe.safetensors")
    assert card.class_names == ("noise", "standing", "lying")
    assert card.provenance["weights"] == {"source": "somewhere", "top1": 12.0}
    found = card.provenance["probe"]
    assert (found["images"], found["balance"], found["folds"]) == (60, "weights", 5)
    assert found["regularisation"] == outcome.head.regularisation
    assert found["validation"] == outcome.scores
    assert "top1" not in card.provenance
    json.dumps(dict(card.provenance), allow_nan=False)
    with torch.no_grad():
        images = torch.randn(2, 3, SIDE, SIDE)
        torch.testing.assert_close(network(images), outcome.model.network(images))


def test_network_it_came_from_stays_as_it_was(model: Model) -> None:
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    values = np.random.default_rng(0).normal(size=(40, 24)).astype(np.float32)
    head = fit_head(values, (values[:, 0] > 0).astype(np.int64), classes=2)
    changed = head_to_network(model, head, ("few", "many"))
    with torch.no_grad():
        for parameter in changed.network.parameters():
            parameter.add_(1)
    assert model.network.num_classes == 5
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_head_that_does_not_fit_is_refused(model: Model) -> None:
    values = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    narrow = fit_head(values, np.arange(40) % 2, classes=2)
    with pytest.raises(ValueError, match="7 features does not fit tiny, which has 24"):
        head_to_network(model, narrow, ("a", "b"))
    fitting = fit_head(np.tile(values, 4)[:, :24], np.arange(40) % 2, classes=2)
    with pytest.raises(ValueError, match="3 class names for a head of 2"):
        head_to_network(model, fitting, ("a", "b", "c"))


def test_many_labels_are_judged_by_average_precision(model: Model) -> None:
    train, validation = stripes(60, seed=0), stripes(30, seed=1)
    data = Splits(
        *(ArrayDataset(d.images, np.eye(3, dtype=np.uint8)[d.labels], d.class_names) for d in (train, validation))
    )
    outcome = probe(model, data, cache=False)
    assert outcome.scores["map"] > 0.9
    assert len(outcome.model.card.provenance["thresholds"]) == 3


def test_scores_by_hand() -> None:
    logits = np.array([[3.0, 1.0], [2.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    assert judge(logits, np.array([0, 0, 1, 1])) == {"top1": 0.75, "mean_per_class": 0.75}
    assert judge(logits, np.array([0, 0, 0, 1])) == {"top1": 1.0, "mean_per_class": 1.0}
    assert judge(logits, np.array([0, 1, 1, 1])) == {"top1": 0.5, "mean_per_class": pytest.approx(2 / 3)}


def test_other_resolution_shares_the_weights(model: Model) -> None:
    other = at_resolution(model, Resolution(20, 16))
    assert other.card.preprocessing.resolution == other.network.spec.resolution == (20, 16)
    assert model.card.preprocessing.resolution == model.network.spec.resolution == (SIDE, SIDE)
    images = torch.randn(1, 3, 20, 16)
    with torch.no_grad():
        torch.testing.assert_close(other.network(images), model.network(images))
    assert next(other.network.parameters()).data_ptr() == next(model.network.parameters()).data_ptr()
