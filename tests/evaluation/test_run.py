"""Answers are the network's own, in the order of the data, whatever is broken, and never of pixels gone wrong."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tests.evaluation.made_up import NAMES, SIDE, tiny_model, write_files
from triscale.arch.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from triscale.data.dataset import ArrayDataset, Labels
from triscale.data.preprocess import normalise, preprocess
from triscale.data.read import read_image
from triscale.deploy.eager import eager_engine
from triscale.deploy.predict import predict
from triscale.evaluation.run import evaluate
from triscale.models import Model


def one_by_one(model: Model, paths: list[Path]) -> np.ndarray:
    """The straight way."""
    rows = []
    for path in paths:
        pixels = preprocess(read_image(path), model.card.preprocessing)
        with torch.no_grad():
            rows.append(model.network(torch.from_numpy(normalise(pixels[None], model.card.preprocessing)))[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize(("batch_size", "workers"), [(None, None), (1, 1), (4, 3), (100, 2)])
def test_answers_are_the_networks_own(tmp_path: Path, batch_size: int | None, workers: int | None) -> None:
    model, files = tiny_model(), write_files(tmp_path)
    found = evaluate(model, files, batch_size=batch_size, workers=workers)
    np.testing.assert_allclose(found.logits, one_by_one(model, files.paths), rtol=1e-4, atol=1e-5)
    assert found.labels.tolist() == files.labels.tolist()
    assert found.names == tuple(map(str, files.paths))
    assert found.class_names == NAMES
    assert found.broken == ()
    assert found.images_per_s > 0


def test_broken_images_are_named_and_left_out(tmp_path: Path) -> None:
    model, files = tiny_model(), write_files(tmp_path)
    whole = evaluate(model, files).logits
    files.paths[0].write_bytes(b"")
    files.paths[9].unlink()
    for number in range(12, 16):
        files.paths[number].write_bytes(b"text")
    found = evaluate(model, files, batch_size=4)
    kept = [number for number in range(23) if number not in (0, 9, 12, 13, 14, 15)]
    assert found.indices.tolist() == kept
    np.testing.assert_allclose(found.logits, whole[kept], rtol=1e-5, atol=1e-6)
    assert found.labels.tolist() == files.labels[kept].tolist()
    assert [name for name, _ in found.broken] == [str(files.paths[number]) for number in (0, 9, 12, 13, 14, 15)]
    assert found.broken[0][1] == "the file is empty"
    for path in files.paths:
        path.unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"no readable image to judge by, such as .*00\.png: no such file"):
        evaluate(model, files)


def test_outputs_follow_the_order_of_the_data(tmp_path: Path) -> None:
    model, files = tiny_model(), write_files(tmp_path)
    plain = evaluate(model, files)
    turned = evaluate(model, replace(files, class_names=NAMES[::-1], labels=6 - files.labels))
    assert turned.class_names == NAMES[::-1]
    np.testing.assert_array_equal(turned.logits[:, ::-1], plain.logits)
    few = evaluate(model, replace(files, class_names=("dog", "bee"), labels=files.labels % 2))
    assert few.class_names == ("dog", "bee", "ant", "cat", "eel", "fox", "gnu")
    np.testing.assert_array_equal(few.logits[:, [2, 1, 3, 0, 4, 5, 6]], plain.logits)
    nameless = Model(model.network, model.card.without_classes())
    np.testing.assert_array_equal(evaluate(nameless, files).logits, plain.logits)


def test_many_labels_are_widened(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    labels = (np.arange(46).reshape(23, 2) % 3 == 0).astype(np.uint8)
    found = evaluate(tiny_model(), replace(files, class_names=("dog", "bee"), labels=labels))
    assert found.labels.shape == (23, 7)
    assert found.labels[:, :2].tolist() == labels.tolist()
    assert not found.labels[:, 2:].any()


@pytest.mark.parametrize(
    ("known", "asked", "message"),
    [
        (NAMES, ("dog", "emu", "rat"), "the model does not know classes 'emu', 'rat' of the data; `triscale finetune"),
        (NAMES, tuple("123456789"), "'5' and 4 more of the data"),
        ((), ("dog", "emu"), "the model has 7 outputs without names, the data 2 classes; `triscale finetune"),
        (("a", "a", *"bcdef"), ("b", "a"), "several classes are called 'a'"),
    ],
)
def test_other_classes_are_refused(
    tmp_path: Path, known: tuple[str, ...], asked: tuple[str, ...], message: str
) -> None:
    model = tiny_model(known or NAMES)
    model = model if known else Model(model.network, model.card.without_classes())
    files = write_files(tmp_path, names=asked)
    with pytest.raises(ValueError, match=message):
        evaluate(model, files)


def digits(images: np.ndarray) -> ArrayDataset:
    return ArrayDataset(images, np.zeros(len(images), np.int64), NAMES)


@dataclass
class Loose:
    """A dataset that checks nothing itself."""

    images: np.ndarray
    class_names: tuple[str, ...] = NAMES

    @property
    def labels(self) -> Labels:
        return np.zeros(len(self.images), np.int64)

    def image(self, index: int) -> np.ndarray:
        return self.images[index]

    def name(self, index: int) -> str:
        return str(index)


def normalised() -> np.ndarray:
    chance = np.random.default_rng(0)
    return (chance.random((20, SIDE, SIDE, 3)) - IMAGENET_MEAN) / IMAGENET_STD


SUSPICIOUS = {
    "digits 0..16": (load_digits().images[:20, ..., None], r"uint8 in 0\.\.255, got float64 in 0\.\.1\d; scale them"),
    "normalised": (normalised().astype(np.float32), r"uint8 in 0\.\.255, got float32 in -2\.\d+\.\.2\.\d+; scale them"),
    "0..1": (np.random.default_rng(1).random((20, SIDE, SIDE, 3)), r"got float64 in .*since the model itself normal"),
    "integers": (np.zeros((20, SIDE, SIDE, 3), np.int64), r"got int64 in 0\.\.0"),
    "0..1 made bytes": (np.round(np.random.default_rng(1).random((20, 8, 8, 3))).astype(np.uint8), "none above 1"),
}


@pytest.mark.parametrize("case", SUSPICIOUS)
def test_pixels_that_are_no_bytes_are_refused(case: str) -> None:
    images, message = SUSPICIOUS[case]
    model = tiny_model()
    with pytest.raises(ValueError, match=message):
        evaluate(model, digits(images))
    with pytest.raises(ValueError, match=message):
        evaluate(model, Loose(images))
    with pytest.raises(ValueError, match=message):
        list(predict(model, iter(images)))
    if images.dtype != np.uint8:
        with pytest.raises(ValueError, match=message):
            eager_engine(model)(images)


def test_one_wrong_image_among_files_is_refused_too() -> None:
    class Changing(Loose):
        def image(self, index: int) -> np.ndarray:
            image = self.images[index]
            return image / 255 if index == 33 else image

    images = np.random.default_rng(0).integers(0, 256, (50, SIDE, SIDE, 3), np.uint8)
    with pytest.raises(ValueError, match="got float64"):
        evaluate(tiny_model(), Changing(images))


def test_dark_pictures_are_pictures() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), np.uint8)
    images[3], images[4] = 0, 1
    assert len(evaluate(tiny_model(), digits(images)).logits) == 20
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert [answer.path for answer in predict(tiny_model(), [black, images[0]])] == ["image 0", "image 1"]


def test_pixels_are_predicted_as_their_files_are(tmp_path: Path) -> None:
    model, files = tiny_model(), write_files(tmp_path)
    by_path = list(predict(model, files.paths, batch_size=4))
    by_pixels = list(predict(model, [read_image(path) for path in files.paths], batch_size=4))
    assert [answer.labels for answer in by_pixels] == [answer.labels for answer in by_path]


def test_another_engine_computes_one_batch_at_a_time(tmp_path: Path) -> None:
    model, files = tiny_model(), write_files(tmp_path)
    usual, inside = eager_engine(model), []

    def engine(images: np.ndarray) -> torch.Tensor:
        inside.append(len(images))
        assert inside == [len(images)]
        logits = usual(images)
        inside.pop()
        return logits

    found = evaluate(model, files, engine=engine, workers=3, batch_size=2)
    np.testing.assert_allclose(found.logits, one_by_one(model, files.paths), rtol=1e-4, atol=1e-5)


def test_progress_is_shown(tmp_path: Path) -> None:
    seen = []

    def watch(items, total):  # type: ignore[no-untyped-def]
        for item in items:
            seen.append(total)
            yield item

    evaluate(tiny_model(), write_files(tmp_path), batch_size=5, watch=watch)
    assert seen == [5] * 5


def test_diverged_weights_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        next(model.network.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite; its weights are damaged or diverged"):
        evaluate(model, write_files(tmp_path))


def test_no_images_are_refused(tmp_path: Path) -> None:
    files = write_files(tmp_path, count=0)
    with pytest.raises(ValueError, match="there is no image to judge by"):
        evaluate(tiny_model(), files)


def test_a_network_without_classes_is_refused(tmp_path: Path) -> None:
    from triscale.models.surgery import adapt

    model = adapt(tiny_model(), classes=0)
    with pytest.raises(ValueError, match="tiny has no classes to judge"):
        evaluate(model, write_files(tmp_path))
