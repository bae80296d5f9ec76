"""The datasets of Table 6 from tiny copies in their real formats, beside what torchvision reads of them."""

import hashlib
import importlib
import io
import logging
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.data.datasets.sources import (
    write_aircraft,
    write_birdsnap,
    write_cars,
    write_cifar,
    write_flowers,
    write_food,
    write_pets,
)
from tests.data.datasets.test_torchvision import assert_same
from tests.loopback import Loopback, loopback
from tests.peers import import_torchvision
from triscale.data.dataset import Metric
from triscale.data.datasets import open_dataset
from triscale.data.datasets.table6 import TABLE_6, usual_metric
from triscale.data.datasets.torchvision import PARTS, published_checksums

__all__ = ["loopback"]

# Table 6 of the paper as it prints it: training images, test images, classes. And the measure of Kornblith et al. 2019.
PRINTED = {
    "CIFAR-10": (50_000, 10_000, 10, "top1"),
    "CIFAR-100": (50_000, 10_000, 100, "top1"),
    "Birdsnap": (47_386, 2_443, 500, "top1"),
    "Stanford Cars": (8_144, 8_041, 196, "top1"),
    "Flowers": (2_040, 6_149, 102, "mean-per-class"),
    "FGVC Aircraft": (6_667, 3_333, 100, "mean-per-class"),
    "Oxford-IIIT Pets": (3_680, 3_369, 37, "mean-per-class"),
    "Food-101": (75_750, 25_250, 101, "top1"),
}
MISPRINTS = {"Oxford-IIIT Pets": {3_369: 3_669}}  # 3,680 + 3,669 = 7,349, which is what the dataset holds


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    import_torchvision()
    return importlib.import_module("torchvision.datasets")


@pytest.fixture
def write(peer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], None]:
    """Writes a tiny copy of a dataset into a folder."""
    _unreachable(monkeypatch)
    writers: dict[str, Callable[[Path], None]] = {
        "cifar-10": lambda root: write_cifar(root, peer.CIFAR10, monkeypatch),
        "cifar-100": lambda root: write_cifar(root, peer.CIFAR100, monkeypatch, classes=100),
        "birdsnap": write_birdsnap,
        "stanford-cars": write_cars,
        "flowers-102": lambda root: write_flowers(root, peer.Flowers102, monkeypatch),
        "fgvc-aircraft": write_aircraft,
        "oxford-iiit-pets": write_pets,
        "food-101": write_food,
    }
    return lambda name, root: writers[name](root)


def _unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("the network is unreachable")

    for name in ("_get_redirect_url", "_urlretrieve"):
        monkeypatch.setattr(f"torchvision.datasets.utils.{name}", refuse)


def test_numbers_are_the_papers() -> None:
    ours = {row.title: (row.train_images, row.test_images, row.classes, row.metric) for row in TABLE_6.values()}
    corrected = {
        title: tuple(MISPRINTS.get(title, {}).get(value, value) for value in values)  # type: ignore[call-overload]
        for title, values in PRINTED.items()
    }
    assert ours == corrected


def test_rows_agree_with_torchvisions_own_parts(peer: ModuleType) -> None:
    for row in TABLE_6.values():
        if row.torchvision is not None:
            assert hasattr(peer, row.torchvision)
            # Flowers' validation images are trained on, as in the paper; otherwise the parts are the same.
            extra = ({"split": "val"},) if row.torchvision == "Flowers102" else ()
            assert {*map(str, (*row.train, *row.test))} == {*map(str, (*PARTS[row.torchvision], *extra))}


def test_checksums_are_found() -> None:
    known = {row.torchvision: dict(published_checksums(row.torchvision)) for row in TABLE_6.values() if row.torchvision}
    assert known["CIFAR10"]["cifar-10-python.tar.gz"] == "c58f30108f718f92721af3b95e74349a"
    assert known["CIFAR10"]["cifar-10-batches-py/batches.meta"] == "5ff9c542aee3614f3951f8cda6e48888"
    assert known["Flowers102"]["flowers-102/setid.mat"] == "a5357ecc9cb78c4bef273ce3793fc85c"
    assert known["Food101"]["food-101.tar.gz"] == "85eeb15f3717b99a5da872d97d918f87"
    assert {name: len(files) for name, files in known.items()} == {
        "CIFAR10": 8,
        "CIFAR100": 4,
        "StanfordCars": 0,
        "Flowers102": 3,
        "FGVCAircraft": 0,
        "OxfordIIITPet": 2,
        "Food101": 1,
    }


def test_usual_metric() -> None:
    one, many = np.zeros(3, np.int64), np.zeros((3, 2), np.uint8)
    assert usual_metric("fgvc-aircraft", one) is Metric.MEAN_PER_CLASS
    assert usual_metric("torchvision:oxfordiiitpet", one) is Metric.MEAN_PER_CLASS
    assert usual_metric("food-101", one) is Metric.TOP1
    assert usual_metric("torchvision:None", one) is Metric.TOP1
    assert usual_metric("photos/", one) is Metric.TOP1
    assert usual_metric("labels.csv", many) is Metric.MEAN_AVERAGE_PRECISION


@pytest.mark.parametrize("name", TABLE_6)
def test_same_as_torchvision(
    name: str,
    write: Callable[[str, Path], None],
    peer: ModuleType,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(name, tmp_path)
    row = TABLE_6[name]
    with caplog.at_level(logging.WARNING):
        splits = open_dataset(name, root=tmp_path)
    (warning,) = caplog.messages
    train, test = (len(part.labels) for part in splits)
    assert f"has {train} images to train on (published: {row.train_images}), {test} for the test" in warning
    assert splits.train.class_names == splits.validation.class_names
    if row.torchvision is None:
        return
    kind = getattr(peer, row.torchvision)
    theirs = [kind(str(tmp_path), **settings) for settings in row.train]
    joined = [item for dataset in theirs for item in dataset]
    assert_same(splits.train, joined)
    assert_same(splits.validation, kind(str(tmp_path), **row.test[0]))
    assert splits.train.class_names == tuple(theirs[0].classes)


def test_download_into_the_cache(
    peer: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loopback: Loopback,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_pets(tmp_path / "published")
    resources = []
    for name in ("images", "annotations"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            archive.add(tmp_path / "published/oxford-iiit-pet" / name, name)
        loopback.serve(f"{name}.tar.gz", file.getvalue())
        resources.append((loopback.url(f"{name}.tar.gz"), hashlib.md5(file.getvalue()).hexdigest()))
    monkeypatch.setattr(peer.OxfordIIITPet, "_RESOURCES", resources)
    monkeypatch.setenv("TRISCALE_CACHE", str(tmp_path / "cache"))
    splits = open_dataset("oxford-iiit-pets")
    assert splits.train.name(0).startswith(f"{tmp_path}/cache/torchvision/oxford-iiit-pet/images/")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(peer.OxfordIIITPet, "_RESOURCES", [(url, "0" * 32) for url, _ in resources])
    with pytest.raises(
        ValueError, match=r"/elsewhere/oxford-iiit-pet/images\.tar\.gz is not the published file: its MD5"
    ):
        open_dataset("oxford-iiit-pets", root=tmp_path / "elsewhere")


def test_own_folder_is_as_good_as_its_root(write: Callable[[str, Path], None], tmp_path: Path) -> None:
    for name in ("food-101", "fgvc-aircraft"):
        write(name, tmp_path)
        inside, above = (open_dataset(name, root=root) for root in (tmp_path / TABLE_6[name].folder, tmp_path))
        assert inside.train.name(0) == above.train.name(0)


@pytest.mark.parametrize("images", ["download/images", "images"])
def test_birdsnap(images: str, tmp_path: Path) -> None:
    write_birdsnap(tmp_path, images=images)
    splits = open_dataset("birdsnap", root=tmp_path)
    assert splits.train.class_names == ("Acadian Flycatcher", "Cooper's Hawk", "Sora")
    listed = [
        (Path(part.name(i)).relative_to(tmp_path / "birdsnap" / images).as_posix(), int(part.labels[i]))
        for part in splits
        for i in range(len(part.labels))
    ]
    # Images 5 3 0 6 1 4 2 in this order, of species number % 3; the second and the fourth are for the test.
    assert listed == [
        ("Sora/0005.jpg", 2),
        ("Acadian_Flycatcher/0000.jpg", 0),
        ("Coopers_Hawk/0001.jpg", 1),
        ("Coopers_Hawk/0004.jpg", 1),
        ("Sora/0002.jpg", 2),
        ("Acadian_Flycatcher/0003.jpg", 0),
        ("Acadian_Flycatcher/0006.jpg", 0),
    ]
    digests = [line.split("\t")[1] for line in (tmp_path / "birdsnap/images.txt").read_text().splitlines()[1:]]
    assert hashlib.md5(splits.train.image(0).read_bytes()).hexdigest() == digests[0]  # type: ignore[union-attr]


def test_images_that_are_not_there_are_left_out(
    write: Callable[[str, Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write("birdsnap", tmp_path)
    write("food-101", tmp_path)
    (tmp_path / "birdsnap/download/images/Sora/0005.jpg").unlink()
    shutil.rmtree(tmp_path / "food-101/images/apple_pie")
    birds, food = open_dataset("birdsnap", root=tmp_path), open_dataset("food-101", root=tmp_path)
    assert birds.train.labels.tolist() == [0, 1, 1, 2]
    assert food.train.labels.tolist() == [1, 1, 1]
    assert [Path(food.train.name(i)).name for i in range(3)] == ["0.jpg", "1.jpg", "2.jpg"]
    assert ["birdsnap in" in caplog.messages[0], "has 3 images to train on" in caplog.messages[1]] == [True, True]
    shutil.rmtree(tmp_path / "food-101/images/waffles")
    with pytest.raises(ValueError, match=r"no train image of Food-101 lies in .*food-101; get http\S*tar\.gz unpacked"):
        open_dataset("food-101", root=tmp_path)


def test_annotations_lead_nowhere_else(write: Callable[[str, Path], None], tmp_path: Path) -> None:
    write("birdsnap", tmp_path)
    (tmp_path / "birdsnap/download/secret.jpg").write_bytes(b"")
    table = tmp_path / "birdsnap/images.txt"
    paths = (
        ("Sora/0005.jpg", "../secret.jpg"),
        ("Coopers_Hawk/0001.jpg", str(tmp_path / "birdsnap/download/secret.jpg")),
    )
    text = table.read_text()
    for path, elsewhere in paths:
        assert path in text
        text = text.replace(path, elsewhere)
    table.write_text(text)
    splits = open_dataset("birdsnap", root=tmp_path)
    assert all("secret" not in splits.train.name(i) for i in range(len(splits.train.labels)))
    assert len(splits.train.labels) == 3


@pytest.mark.parametrize(
    ("name", "lost", "message"),
    [
        (
            "cifar-10",
            "data_batch_3",
            r"no .*cifar-10-batches-py/data_batch_3 .*unreachable.*get https://\S*cifar-10-python",
        ),
        ("cifar-100", "meta", r"no .*cifar-100-python/meta .*get https://\S*cifar-100-python\.tar\.gz unpacked into"),
        ("birdsnap", "test_images.txt", r"no .*birdsnap/test_images\.txt; get https://\S*birdsnap\.tgz"),
        ("stanford-cars", "cars_test_annos_withlabels.mat", r"no .*withlabels\.mat .*get a copy .* car_devkit\.tgz"),
        ("stanford-cars", "cars_train", r"no .*cars_train .*get a copy .*publishers took it down"),
        ("flowers-102", "setid.mat", r"no .*flowers-102/setid\.mat .*get 102flowers\.tgz, unpacked, setid\.mat and"),
        ("fgvc-aircraft", "images_variant_test.txt", r"no .*images_variant_test\.txt .*fgvc-aircraft-2013b\.tar\.gz"),
        ("oxford-iiit-pets", "annotations/test.txt", r"no .*annotations/test\.txt .*annotations\.tar\.gz"),
        ("food-101", "meta/test.json", r"no .*meta/test\.json .*food-101\.tar\.gz unpacked into"),
    ],
)
def test_missing_part(name: str, lost: str, message: str, write: Callable[[str, Path], None], tmp_path: Path) -> None:
    write(name, tmp_path)
    path = tmp_path / TABLE_6[name].folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=rf"^there is {message}[^\n]*$"):
        open_dataset(name, root=tmp_path)


@pytest.mark.parametrize("name", TABLE_6)
def test_nothing_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: ModuleType) -> None:
    assert peer is not None
    _unreachable(monkeypatch)
    with pytest.raises(ValueError, match=rf"^there is no {tmp_path}/{TABLE_6[name].folder}/[^\n]*; get [^\n]*$"):
        open_dataset(name, root=tmp_path)


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("birdsnap", "species.txt"),
        ("birdsnap", "images.txt"),
        ("birdsnap", "test_images.txt"),
        ("stanford-cars", "devkit/cars_train_annos.mat"),
        ("stanford-cars", "devkit/cars_meta.mat"),
        ("stanford-cars", "cars_test_annos_withlabels.mat"),
        ("flowers-102", "imagelabels.mat"),
        ("flowers-102", "setid.mat"),
        ("cifar-10", "data_batch_2"),
        ("cifar-100", "meta"),
        ("food-101", "meta/train.json"),
    ],
)
@pytest.mark.parametrize("kept", [0, 0.3, 0.9])
def test_truncated_file_is_named(
    name: str, damaged: str, kept: float, write: Callable[[str, Path], None], tmp_path: Path
) -> None:
    write(name, tmp_path)
    path = tmp_path / TABLE_6[name].folder / damaged
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        open_dataset(name, root=tmp_path)
    assert path.name in str(caught.value)
    assert "get " in str(caught.value) or "anew" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("cifar-10", "cifar-10-python.tar.gz"),
        ("flowers-102", "flowers-102/102flowers.tgz"),
        ("oxford-iiit-pets", "oxford-iiit-pet/images.tar.gz"),
        ("food-101", "food-101.tar.gz"),
    ],
)
def test_wrong_archive(
    name: str, archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: ModuleType
) -> None:
    assert peer is not None
    _unreachable(monkeypatch)
    (tmp_path / archive).parent.mkdir(exist_ok=True)
    (tmp_path / archive).write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match=r"^[^\n]* is not the published file: its MD5 is [^\n]*; delete it, and get"):
        open_dataset(name, root=tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("fgvc-aircraft", "images_variant_trainval.txt", "1234567 Concorde\n", "torchvision cannot read FGVCAircraft"),
        ("oxford-iiit-pets", "annotations/trainval.txt", "Abyssinian_0 1\n", "torchvision cannot read OxfordIIITPet"),
        (
            "oxford-iiit-pets",
            "annotations/test.txt",
            "Abyssinian_0 9 1 1\n",
            "holds labels 0..8 for 3 classes; one of ann",
        ),
        ("food-101", "meta/test.json", "[]", "torchvision cannot read Food101"),
        ("food-101", "meta/test.json", "{}", "no test image of Food-101 lies in"),
        ("birdsnap", "images.txt", "path\tspecies_id\na/1.jpg\t4\n", "images.txt, line 2: there is no species '4'"),
        ("birdsnap", "images.txt", "path\nSora/1.jpg\n", "images.txt has no column 'species_id'"),
        ("birdsnap", "species.txt", "id\tcommon\nx\tSora\n", "species.txt, line 2 is cut off or no row"),
    ],
)
def test_wrong_contents(
    name: str, file: str, text: str, message: str, write: Callable[[str, Path], None], tmp_path: Path
) -> None:
    write(name, tmp_path)
    (tmp_path / TABLE_6[name].folder / file).write_text(text)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        open_dataset(name, root=tmp_path)
    assert message in str(caught.value)
