"""Predictions against the plain network on the same pixels, and what happens to broken files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.randomise import randomise_norms
from triscale.arch import NetworkSpec, Preprocessing, square
from triscale.arch.rows import conv, mbconv
from triscale.data.read import ImageBytes
from triscale.deploy.eager import eager_engine
from triscale.deploy.predict import predict, top_labels
from triscale.models import Model, ModelCard, build
from triscale.models.inputs import Normalise

SPEC = NetworkSpec("tiny", square(24), stages=(conv(3, 2, 8), mbconv(3, 1, 6, 8, 1), conv(1, 1, 16)), classes=4)
CARD = ModelCard(Preprocessing(square(24), crop=1.0), ("a", "b", "c", "d"))


@pytest.fixture
def model() -> Model:
    network = build(SPEC, seed=0).eval()
    randomise_norms(network, seed=0)
    return Model(network, CARD)


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)
    return paths


def test_normalise_matches_the_definition() -> None:
    images = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
    values = Normalise(CARD.preprocessing)(images)
    assert values.shape == (2, 3, 5, 7)
    assert values.is_contiguous(memory_format=torch.channels_last)
    expected = (images[1, 2, 3, 0].item() / 255 - 0.485) / 0.229
    assert values[1, 0, 2, 3].item() == pytest.approx(expected, rel=1e-5)


def test_predictions_are_the_networks(model: Model, photographs: list[Path]) -> None:
    pixels = np.stack([np.asarray(Image.open(path)) for path in photographs])
    with torch.no_grad():
        expected = model.network(Normalise(CARD.preprocessing)(torch.from_numpy(pixels))).softmax(1)
    found = list(predict(model, photographs, top=2, batch_size=2, workers=2))
    assert [prediction.path for prediction in found] == list(map(str, photographs))
    for prediction, row in zip(found, expected, strict=True):
        best = row.argsort(descending=True)[:2].tolist()
        assert [label.index for label in prediction.labels] == best
        assert [label.name for label in prediction.labels] == ["abcd"[index] for index in best]
        assert [label.probability for label in prediction.labels] == pytest.approx(row[best].tolist(), abs=1e-5)


def test_batch_size_does_not_change_answers(model: Model, photographs: list[Path]) -> None:
    one = [p.labels[0] for p in predict(model, photographs, batch_size=1)]
    all_at_once = [p.labels[0] for p in predict(model, photographs, batch_size=64)]
    assert [label.index for label in one] == [label.index for label in all_at_once]


def test_broken_files_keep_their_place(model: Model, photographs: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photographs[0].read_bytes()[:50])
    sources = [photographs[0], broken, tmp_path / "missing.png", ImageBytes("-", photographs[1].read_bytes())]
    found = list(predict(model, sources, batch_size=2))
    assert [prediction.path for prediction in found] == [*map(str, sources[:3]), "-"]
    assert [prediction.error is None for prediction in found] == [True, False, False, True]
    assert found[2].error == "no such file or directory"
    assert all(len(prediction.labels) == (0 if prediction.error else 4) for prediction in found)


def test_a_batch_of_nothing_but_broken_files(model: Model, tmp_path: Path) -> None:
    (found,) = predict(model, [tmp_path / "missing.png"])
    assert found.labels == ()


def test_classes_without_names_are_numbered() -> None:
    labels = top_labels(torch.tensor([0.0, 2.0, 1.0]), ModelCard(Preprocessing(square(8))), top=9)
    assert [(label.index, label.name) for label in labels] == [(1, "1"), (2, "2"), (0, "0")]
    assert sum(label.probability for label in labels) == pytest.approx(1)


def test_mistakes_are_named(model: Model) -> None:
    with pytest.raises(ValueError, match="top and batch_size must be at least 1, got 0 and 16"):
        predict(model, [], top=0)
    headless = Model(build(replace(SPEC, classes=0), seed=0), replace(CARD, class_names=()))
    with pytest.raises(ValueError, match="tiny has no classes to predict"):
        predict(headless, [])


def test_the_engine_leaves_the_model_alone(model: Model) -> None:
    model.network.train()
    eager_engine(model)(np.zeros((1, 24, 24, 3), np.uint8))
    assert model.network.training
    assert not model.network.folded
