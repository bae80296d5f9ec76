"""Networks for images of any number of channels: fine-tuned, probed, judged and explained like others."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.pictures import coffee, npy
from tests.train.tiny import SOURCE
from tests.transfer.test_finetune import asked, model
from triscale.arch.preprocessing import Interpolation
from triscale.arch.spec import Resolution, square
from triscale.data.augmentation import Augmentation, CropKind, Policy
from triscale.data.dataset import Splits
from triscale.data.datasets import open_dataset
from triscale.data.pixels import to_look_at
from triscale.data.preprocess import preprocess
from triscale.data.transform import TrainTransform
from triscale.deploy.predict import predict
from triscale.evaluation.run import evaluate
from triscale.explain.explanation import explain_images
from triscale.explain.mistakes import Mistake, write_mistakes
from triscale.models.files import load_model
from triscale.train import Resources
from triscale.transfer.finetune import finetune, fitted
from triscale.transfer.probe import probe


def write_stripes(folder: Path, *, channels: int, count: int = 24, seed: int = 0) -> None:
    """Class folders of arrays whose last channel alone shows stripes that lie or stand."""
    generator = np.random.default_rng(seed)
    lying = np.tile((np.arange(80) // 10 % 2 * 120)[:, None], (1, 80))
    for name, stripes in (("lying", lying), ("standing", lying.T)):
        own = folder / name
        own.mkdir(parents=True)
        for number in range(count):
            image = generator.integers(0, 60, (80, 80, channels))
            image[:, :, -1] += stripes
            (own / f"{number:02}.npy").write_bytes(npy(image.astype(np.uint8)))


@pytest.fixture(params=[2, 5, 13])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int]:
    for part, seed in (("train", 0), ("val", 1)):
        write_stripes(tmp_path / "data" / part, channels=request.param, seed=seed)
    return tmp_path / "data", request.param


def test_arrays_of_any_channels_are_learnt_judged_and_shown(folder: tuple[Path, int], tmp_path: Path) -> None:
    path, channels = folder
    data = open_dataset(str(path))
    assert isinstance(data, Splits)
    own = fitted(model(), data, name="m")
    assert own.network.spec.input_channels == len(own.card.preprocessing.mean) == channels
    gentle = Augmentation(area=(0.5, 1.0), policy=Policy.NONE, flip=True)
    outcome = finetune(
        asked(own, augmentation=gentle, epochs=6),
        data,
        tmp_path / "run",
        model=own,
        source=SOURCE,
        resources=Resources(workers=0),
    )
    assert outcome.validation is not None
    assert outcome.validation.top1 > 0.9
    found = load_model(tmp_path / "run" / "model.safetensors")
    answers = evaluate(found, data.validation)
    assert (answers.logits.argmax(1) == answers.labels).mean() == outcome.validation.top1
    probed = probe(own, data, cache=False)
    assert probed.scores["top1"] > 0.9
    arrays = sorted((path / "val").rglob("*.npy"))
    assert {said.labels[0].name for said in predict(found, arrays)} == {"lying", "standing"}
    (explained,) = explain_images(found, arrays[:1])
    assert explained.picture is not None
    assert explained.picture.shape == (80, 80, 3)
    assert explained.overlay(explained.views[0]).shape == (80, 80, 3)
    mistake = Mistake(index=0, label="lying", predicted=1, probability=0.6, probability_of_label=0.4)
    write_mistakes(tmp_path, found, data.validation, [mistake], count=1)
    assert (tmp_path / "mistakes" / "000-map.jpg").is_file()


def test_an_image_of_other_channels_is_named_and_the_rest_go_on(tmp_path: Path) -> None:
    write_stripes(tmp_path / "data", channels=5)
    data = open_dataset(str(tmp_path / "data"))
    own = fitted(model(), data, name="m")
    odd = tmp_path / "odd.png"
    cv2.imwrite(str(odd), coffee())
    good = tmp_path / "data" / "lying" / "00.npy"
    first, second = predict(own, [odd, good])
    assert first.error == "it has 3 channels, and the network takes 5"
    assert first.path == str(odd)
    assert second.labels
    assert [bool(each.error) for each in explain_images(own, [odd, good])] == [True, False]


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_each_channel_is_resized_as_a_grey_picture(antialias: bool, interpolation: Interpolation) -> None:
    image = np.concatenate([coffee(), coffee()[::-1], coffee()[:, ::-1, :1]], axis=2)
    card = fitted(model(resolution=Resolution(48, 64)), _one(image), name="m").card
    settings = replace(card.preprocessing, antialias=antialias, interpolation=interpolation)
    grey = replace(settings, mean=settings.mean[:1], std=settings.std[:1])
    found = preprocess(image, settings)
    assert found.shape == (48, 64, 7)
    for channel in range(7):
        assert np.array_equal(found[:, :, channel], preprocess(image[:, :, channel, None], grey)[:, :, 0])


@pytest.mark.parametrize("crop", list(CropKind))
@pytest.mark.parametrize("side", [16, 64, 300])
def test_channels_are_augmented_together(crop: CropKind, side: int) -> None:
    image = np.repeat(coffee()[:, :, :1], 6, axis=2)
    card = fitted(model(resolution=square(side)), _one(image), name="m").card
    padding = 4 if crop is CropKind.SHIFT else 0
    transform = TrainTransform(card.preprocessing, Augmentation(crop=crop, padding=padding, policy=Policy.NONE))
    made = transform(image, np.random.default_rng(0))
    assert made.shape == (side, side, 6)
    assert (made == made[:, :, :1]).all()


def test_policies_are_for_colours(folder: tuple[Path, int]) -> None:
    own = fitted(model(), open_dataset(str(folder[0])), name="m")
    with pytest.raises(ValueError, match=r"channels do not have; set augmentation.policy=none"):
        asked(own, augmentation=Augmentation(policy=Policy.AUTOAUGMENT))


def test_what_is_shown_of_many_channels_is_the_first() -> None:
    image = np.arange(2 * 2 * 5, dtype=np.uint8).reshape(2, 2, 5)
    assert np.array_equal(to_look_at(image), image[:, :, :3])
    assert np.array_equal(to_look_at(image[:, :, :2]), image[:, :, :1].repeat(3, axis=2))


def _one(image: np.ndarray) -> Splits:
    from triscale.data.dataset import ArrayDataset

    part = ArrayDataset(image[None].repeat(2, 0), np.array([0, 1]), ("a", "b"))
    return Splits(part, part)
