"""Features of every image once: the network's own, in order, kept on disk and never trusted when damaged."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.rows import conv, mbconv
from triscale.arch.spec import NetworkSpec, square
from triscale.data.dataset import ArrayDataset, Labels, Subset
from triscale.data.preprocess import normalise, preprocess
from triscale.data.read import ImageBytes, read_image
from triscale.models import Model, ModelCard, build
from triscale.transfer import features as module
from triscale.transfer.cache import FeatureCache, image_key, network_key, trim
from triscale.transfer.features import Features, pooled_features

SIDE = 16
SPEC = NetworkSpec("tiny", square(SIDE), stages=(conv(3, 2, 8), mbconv(3, 2, 2, 8, 2), conv(1, 1, 24)), classes=5)


@dataclass
class Files:
    """Image files with a label each."""

    paths: list[Path]
    class_names: tuple[str, ...] = ("a", "b")

    @property
    def labels(self) -> Labels:
        return np.arange(len(self.paths), dtype=np.int64) % 2

    def image(self, index: int) -> Path:
        return self.paths[index]

    def name(self, index: int) -> str:
        return str(self.paths[index])


@pytest.fixture
def model() -> Model:
    network = build(SPEC, seed=1)
    with torch.no_grad():
        for _ in range(3):  # statistics that folding must take into account
            network(torch.randn(16, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    return Model(network.eval(), ModelCard(Preprocessing(square(SIDE))))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    chance = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(11)]
    for path in paths:
        Image.fromarray(chance.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return Files(paths)


def one_by_one(model: Model, files: Files) -> np.ndarray:
    """The straight way: read, prepare, pass the network, average over the map."""
    rows = []
    for path in files.paths:
        pixels = preprocess(read_image(path), model.card.preprocessing)
        inputs = torch.from_numpy(normalise(pixels[None], model.card.preprocessing))
        with torch.no_grad():
            rows.append(model.network.features(inputs).mean((2, 3))[0].numpy())
    return np.stack(rows)


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


@pytest.mark.parametrize(("batch_size", "workers"), [(None, None), (1, 1), (4, 3)])
def test_features_are_the_networks_own(model: Model, files: Files, batch_size: int | None, workers: int | None) -> None:
    found = pooled_features(model, files, cache=False, batch_size=batch_size, workers=workers)
    np.testing.assert_allclose(found.values, one_by_one(model, files), rtol=1e-4, atol=1e-5)
    assert found.kept.tolist() == list(range(11))
    assert found.labels.tolist() == files.labels.tolist()
    assert (found.broken, found.computed) == ((), 11)
    weight, bias = model.network.classifier.weight, model.network.classifier.bias
    with torch.no_grad():
        pixels = preprocess(read_image(files.paths[3]), model.card.preprocessing)
        logits = model.network(torch.from_numpy(normalise(pixels[None], model.card.preprocessing)))
        torch.testing.assert_close(torch.from_numpy(found.values[3:4]) @ weight.T + bias, logits, rtol=1e-4, atol=1e-5)


def test_second_time_is_read_from_disk(model: Model, files: Files, tmp_path: Path) -> None:
    first = pooled_features(model, files, cache=tmp_path / "cache")
    again = pooled_features(model, files, cache=tmp_path / "cache", batch_size=3)
    assert (first.computed, again.computed) == (11, 0)
    np.testing.assert_array_equal(first.values, again.values)


def test_other_order_and_new_images_compute_only_what_is_new(model: Model, files: Files, tmp_path: Path) -> None:
    some = pooled_features(model, Files(files.paths[:7]), cache=tmp_path / "cache")
    whole = pooled_features(model, Subset(files, np.arange(11)[::-1]), cache=tmp_path / "cache")
    assert whole.computed == 4
    np.testing.assert_array_equal(whole.values[::-1][:7], some.values)
    np.testing.assert_allclose(whole.values[::-1], one_by_one(model, files), rtol=1e-4, atol=1e-5)


def test_changed_file_is_computed_anew(model: Model, files: Files, tmp_path: Path) -> None:
    pooled_features(model, files, cache=tmp_path / "cache")
    Image.new("RGB", (20, 20), (255, 0, 0)).save(files.paths[2])
    again = pooled_features(model, files, cache=tmp_path / "cache")
    assert again.computed == 1
    np.testing.assert_allclose(again.values, one_by_one(model, files), rtol=1e-4, atol=1e-5)


def test_classifier_plays_no_part_but_weights_and_preprocessing_do(model: Model) -> None:
    network, card = model
    key = network_key(model, device="cpu")
    network.reset_classifier(7, seed=3)
    assert network_key(model, device="cpu") == key
    assert network_key(model, device="cuda") != key
    assert network_key(Model(network, replace(card, preprocessing=Preprocessing(square(24)))), device="cpu") != key
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] += 1e-3
    assert network_key(model, device="cpu") != key


def test_bytes_and_pixels_are_told_apart_by_content() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    keys = [
        image_key(pixels),
        image_key(pixels.reshape(2, 8, 3)),
        image_key(pixels + np.uint8(1)),
        image_key(ImageBytes("a", b"1")),
        image_key(ImageBytes("a", b"2")),
    ]
    assert len(set(keys)) == 5
    assert image_key(ImageBytes("other name", b"1")) == keys[3]
    assert image_key(pixels.copy()) == keys[0]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_damaged_file_is_computed_anew(model: Model, files: Files, tmp_path: Path, damage: str) -> None:
    first = pooled_features(model, files, cache=tmp_path / "cache")
    (path,) = stored(tmp_path / "cache")
    data = path.read_bytes()
    flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    path.write_bytes({"cut": data[: len(data) // 2], "flipped": flipped, "empty": b"", "text": b"no tensors"}[damage])
    again = pooled_features(model, files, cache=tmp_path / "cache")
    assert again.computed == 11
    np.testing.assert_array_equal(first.values, again.values)
    assert pooled_features(model, files, cache=tmp_path / "cache").computed == 0


def test_interruption_keeps_what_was_done(model: Model, files: Files, tmp_path: Path) -> None:
    def stop(done: int, images: int) -> None:
        assert images == 11
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pooled_features(model, files, cache=tmp_path / "cache", batch_size=2, watch=stop)
    assert pooled_features(model, files, cache=tmp_path / "cache").computed == 5


def test_progress_counts_every_image(model: Model, files: Files) -> None:
    seen: list[tuple[int, int]] = []
    pooled_features(model, files, cache=False, batch_size=4, watch=lambda *counts: seen.append(counts))
    assert seen == [(4, 11), (8, 11), (11, 11)]


def test_broken_images_are_named_and_left_out(model: Model, files: Files, tmp_path: Path) -> None:
    files.paths[4].write_bytes(b"no image")
    files.paths[5].unlink()
    found = pooled_features(model, files, cache=tmp_path / "cache")
    assert [name for name, _ in found.broken] == [str(files.paths[4]), str(files.paths[5])]
    assert found.kept.tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 10]
    assert found.labels.tolist() == files.labels[found.kept].tolist()
    with pytest.raises(ValueError, match=r"no readable image.*4\.png"):
        pooled_features(model, Files(files.paths[4:6]), cache=False)


def test_many_files_are_written_as_images_come(
    model: Model, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT_IMAGES", 4)
    pooled_features(model, files, cache=tmp_path / "cache", batch_size=2)
    assert len(stored(tmp_path / "cache")) == 3
    assert pooled_features(model, files, cache=tmp_path / "cache").computed == 0


def test_oldest_files_go_first(tmp_path: Path) -> None:
    kept = FeatureCache(tmp_path, "0" * 64, width=4)
    for number in range(4):
        kept.add([bytes([number]) * 16], np.full((1, 4), number, np.float32))
    paths = {path: FeatureCache(path.parent.parent, "0" * 64, width=4) for path in stored(tmp_path)}
    assert len(paths) == 4
    for path in paths:
        os.utime(path, (1000, 1000))
    assert kept.find(bytes([9]) * 16) is None
    again = FeatureCache(tmp_path, "0" * 64, width=4)
    np.testing.assert_array_equal(again.find(bytes([2]) * 16), [2, 2, 2, 2])  # now the newest
    size = stored(tmp_path)[0].stat().st_size
    trim(tmp_path, most_bytes=size)
    assert len(stored(tmp_path)) == 1
    left = FeatureCache(tmp_path, "0" * 64, width=4)
    assert [left.find(bytes([number]) * 16) is None for number in range(4)] == [True, True, False, True]


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    blocked = tmp_path / "cache"
    blocked.write_text("a file where the folder should be")
    return blocked


def test_cache_that_cannot_be_written_only_warns(
    model: Model, files: Files, refused: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = pooled_features(model, files, cache=refused)
    assert found.computed == 11
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_grey_pixels_and_options(model: Model) -> None:
    grey = ArrayDataset(np.zeros((3, 8, 8, 1), np.uint8), np.zeros(3, np.int64), ("a",))
    found = pooled_features(model, grey, cache=False)
    assert isinstance(found, Features)
    np.testing.assert_array_equal(found.values[0], found.values[1])
    with pytest.raises(ValueError, match="at least 1"):
        pooled_features(model, grey, cache=False, batch_size=-1)
