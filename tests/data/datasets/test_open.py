"""Every source keeps the protocol, and a name that stands for none gets one line of help."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.data.datasets.sources import (
    jpeg,
    write_birdsnap,
    write_fashion,
    write_folders,
    write_food,
    write_shard,
)
from triscale.data.dataset import ImageDataset, Splits
from triscale.data.datasets import open_dataset
from triscale.data.read import read_image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRISCALE_CACHE", str(tmp_path / "cache"))


def _folders(root: Path) -> Splits:
    write_folders(root, {"train/a": 3, "train/b": 4, "val/a": 2, "val/b": 1})
    return open_dataset(str(root))


def _one_folder(root: Path) -> Splits:
    write_folders(root, {"a": 10, "b": 20})
    return open_dataset(str(root))


def _imagenet(root: Path) -> Splits:
    write_folders(root, {"train/n01440764": 2, "train/n01443537": 2, "val/n01440764": 1})
    return open_dataset(str(root))


def _shards(root: Path) -> Splits:
    write_shard(root / "0.tar", [number % 3 for number in range(20)])
    return open_dataset(str(root))


def _fashion(root: Path) -> Splits:
    write_fashion(root)
    return open_dataset("fashion-mnist", root=root)


def _torchvision(root: Path) -> Splits:
    write_fashion(root / "FashionMNIST" / "raw", packed=False)
    return open_dataset("torchvision:FashionMNIST", root=root)


def _food(root: Path) -> Splits:
    write_food(root)
    return open_dataset("food-101", root=root)


def _birdsnap(root: Path) -> Splits:
    write_birdsnap(root)
    return open_dataset("birdsnap", root=root)


def _csv(root: Path) -> Splits:
    write_folders(root, {"a": 3, "b": 4})
    lines = [f"{path.relative_to(root)},{path.parent.name}" for path in sorted(root.glob("*/*.jpg"))]
    (root / "labels.csv").write_text("\n".join(["image,label", *lines]))
    return open_dataset(str(root / "labels.csv"))


def _saved(root: Path) -> Splits:
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [{"bytes": jpeg(i), "path": None} for i in range(10)], "label": [0, 1] * 5}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(root / "saved")
    return open_dataset(str(root / "saved"))


SOURCES = {
    "folders": _folders,
    "one folder": _one_folder,
    "imagenet": _imagenet,
    "shards": _shards,
    "fashion-mnist": _fashion,
    "torchvision": _torchvision,
    "food-101": _food,
    "birdsnap": _birdsnap,
    "csv": _csv,
    "hugging face": _saved,
    "digits": lambda _: open_dataset("digits"),
    "synthetic": lambda _: open_dataset("synthetic:classes=4,images=30,size=40x30"),
    "synthetic pixels": lambda _: open_dataset("synthetic:classes=4,images=30,size=20,jpeg=0,channels=1"),
}


def _contents(dataset: ImageDataset) -> list[bytes]:
    images = map(dataset.image, range(len(dataset.labels)))
    return [(image if isinstance(image, np.ndarray) else read_image(image)).tobytes() for image in images]


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("source", SOURCES)
def test_protocol(source: str, tmp_path: Path) -> None:
    splits = SOURCES[source](tmp_path)
    for dataset in splits:
        assert dataset.labels.dtype == np.int64
        assert 0 <= dataset.labels.min() <= dataset.labels.max() < len(dataset.class_names)
        assert dataset.class_names == splits.train.class_names
        names = [dataset.name(index) for index in range(len(dataset.labels))]
        assert len(set(names)) == len(names)
        with pytest.raises(IndexError):
            dataset.image(len(names))
        copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
        np.testing.assert_array_equal(copy.labels, dataset.labels)
        assert copy.class_names == dataset.class_names
        assert [copy.name(index) for index in range(len(names))] == names
        assert _contents(copy) == _contents(dataset)


@pytest.mark.parametrize("source", SOURCES)
def test_reading_leaves_no_file_open(source: str, tmp_path: Path) -> None:
    dataset = SOURCES[source](tmp_path).train
    before = _open_files()
    _contents(dataset)
    assert _open_files() == before


def test_one_part_is_split_by_seed_class_by_class(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 10, "b": 20})
    parts = [open_dataset(str(tmp_path), seed=seed, validation_fraction=0.3) for seed in (0, 0, 1)]
    names = [[d.name(i) for i in range(len(d.labels))] for splits in parts for d in splits]
    assert names[:2] == names[2:4] != names[4:]
    assert sorted(names[0] + names[1]) == sorted(map(str, tmp_path.glob("*/*.jpg")))
    assert np.bincount(parts[0].validation.labels).tolist() == [3, 6]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "did you mean digits?"),
        ("fashion_mnist", "did you mean fashion-mnist?"),
        ("cifar10", "did you mean cifar-10?"),
        ("flowers", "did you mean flowers-102?"),
        ("Stanford_Cars", "did you mean stanford-cars?"),
        ("torchvision:CIFAR1000", "did you mean torchvision:CIFAR100?"),
        ("torchvision:Nothing", "valid: CIFAR10, CIFAR100"),
        (
            "no/such/folder",
            "there is no dataset or folder 'no/such/folder'; give a folder, tar shards, a CSV file, or one of",
        ),
        ("a\0b", r"there is no dataset or folder 'a\x00b'"),
        ("no-such-{0..3}.tar", "there is no shard 'no-such-0.tar'"),
        ("synthetic:clases=3", "unknown setting 'clases'; valid: size, classes, images"),
        ("synthetic:images=many", "'images=many' is not KEY=NUMBER"),
        ("synthetic:images=0", "images must be at least 1, got 0"),
        ("synthetic:channels=2", "channels are 1 or 3"),
        ("synthetic:size=70000", "sides are at most"),
    ],
)
def test_unknown_name(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        open_dataset(name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_fraction": 0.0}, "between 0 and 1, got 0"),
        ({"validation_fraction": float("nan")}, "between 0 and 1, got nan"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_impossible_split(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_dataset("digits", **settings)  # type: ignore[arg-type]


def test_file_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    with pytest.raises(ValueError, match=r"x\.jpg is a file; give the folder"):
        open_dataset(str(tmp_path / "x.jpg"))


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    splits = open_dataset("digits", seed=5)
    ours = {
        (dataset.image(i).tobytes(), int(dataset.labels[i])) for dataset in splits for i in range(len(dataset.labels))
    }  # type: ignore[union-attr]
    theirs = {
        (np.round(image * 15.9375).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(bunch.images, bunch.target, strict=True)
    }
    assert ours == theirs
    assert splits.train.image(0).shape == (8, 8, 1)  # type: ignore[union-attr]
    assert {len(part.labels) for part in splits} == {1438, 359}


class TestSynthetic:
    def test_settings(self) -> None:
        splits = open_dataset("synthetic:classes=7,images=50,size=40x30,pictures=5")
        assert read_image(splits.train.image(3)).shape == (30, 40, 3)  # type: ignore[arg-type]
        assert (len(splits.train.labels), len(splits.validation.labels)) == (50, 5)
        assert np.bincount(splits.train.labels).tolist() == [8, 7, 7, 7, 7, 7, 7]

    def test_pictures_follow_from_the_seed(self) -> None:
        first, again, other = (open_dataset("synthetic:images=8,size=32", seed=seed).train for seed in (0, 0, 1))
        assert _contents(first) == _contents(again)
        assert len({*_contents(first), *_contents(other)}) == 16

    def test_files_are_as_large_as_imagenets(self) -> None:
        images = [open_dataset("synthetic:images=4").train.image(index) for index in range(4)]
        # ILSVRC 2012's training set: 1,281,167 files in 138 GB.
        assert np.mean([len(image.data) for image in images]) == pytest.approx(138e9 / 1_281_167, rel=0.3)  # type: ignore[union-attr]
