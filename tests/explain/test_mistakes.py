"""Pictures of mistakes: what the list says is there, and what cannot be read is left out."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from triscale.arch import get_network, square
from triscale.arch.preprocessing import Preprocessing
from triscale.data.dataset import ArrayDataset
from triscale.data.read import ImageBytes, read_image
from triscale.demo import photographs
from triscale.explain.mistakes import LARGEST, Mistake, write_mistakes
from triscale.models import Model, ModelCard, build
from triscale.models.weights import load


@dataclass(frozen=True)
class Files:
    """Photographs and one broken file between them."""

    class_names = ("good", "bad")
    labels = np.zeros(4, np.int64)

    def image(self, index: int) -> Path | ImageBytes:
        return ImageBytes("broken", b"no image") if index == 1 else photographs()[index]

    def name(self, index: int) -> str:
        return f"photo {index}"


def mistake(index: int, predicted: int) -> Mistake:
    return Mistake(index=index, label="good", predicted=predicted, probability=0.75, probability_of_label=0.125)


def test_the_list_names_two_pictures_of_each_mistake(tmp_path: Path) -> None:
    model = load("efficientnet-lite0")
    espresso = model.card.class_names.index("espresso")
    path = write_mistakes(tmp_path, model, Files(), [mistake(1, 3), mistake(0, espresso), mistake(2, 3)], count=2)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (content["format"], content["version"]) == ("triscale-mistakes", 1)
    assert content["mistakes"][0] == {
        "image": "photo 0",
        "label": "good",
        "predicted": "espresso",
        "probability": 0.75,
        "probability_of_label": 0.125,
        "picture": "mistakes/000.jpg",
        "map": "mistakes/000-map.jpg",
    }
    assert [row["image"] for row in content["mistakes"]] == ["photo 0", "photo 2"]
    plain, coloured = (read_image(tmp_path / content["mistakes"][0][key]) for key in ("picture", "map"))
    assert plain.shape == coloured.shape
    assert max(plain.shape) == LARGEST
    # The cup stands in the middle above the rim of the saucer; the map is hot there, and grey at the picture's edge.
    warmth = coloured[:, :, 0].astype(int) - coloured[:, :, 2]
    height, width = warmth.shape
    assert warmth[height // 3 : height // 2, width // 2 - 20 : width // 2 + 20].mean() > 80
    assert np.abs(warmth[:, :20]).mean() < 5


def test_a_shorter_list_removes_the_pictures_of_the_longer(tmp_path: Path) -> None:
    model = load("efficientnet-lite0")
    write_mistakes(tmp_path, model, Files(), [mistake(0, 1), mistake(2, 1)])
    (tmp_path / "mistakes" / "notes.txt").touch()
    write_mistakes(tmp_path, model, Files(), [mistake(2, 1)])
    assert sorted(path.name for path in (tmp_path / "mistakes").iterdir()) == ["000-map.jpg", "000.jpg", "notes.txt"]
    write_mistakes(tmp_path, model, Files(), [])
    assert json.loads((tmp_path / "mistakes.json").read_text(encoding="utf-8"))["mistakes"] == []
    with pytest.raises(ValueError, match="there is no folder"):
        write_mistakes(tmp_path / "none", model, Files(), [])


def test_tiny_grey_arrays_are_enlarged(tmp_path: Path) -> None:
    spec = replace(get_network("efficientnet-lite0"), input_channels=1, classes=10, resolution=square(32))
    card = ModelCard(Preprocessing(square(32), crop=1.0, mean=(0.5,), std=(0.5,)))
    model = Model(build(spec, seed=0).eval(), card)
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), dtype=np.uint8)
    names = tuple("9876543210")
    write_mistakes(tmp_path, model, ArrayDataset(images, np.array([1, 2]), names), [mistake(1, 7)])
    (row,) = json.loads((tmp_path / "mistakes.json").read_text(encoding="utf-8"))["mistakes"]
    assert row["predicted"] == "2"
    assert read_image(tmp_path / row["map"]).shape == (140, 140, 3)
