"""The eight datasets that the paper transfers to, by name, with its splits and metrics (Table 6)."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from triscale.data.dataset import ArrayDataset, ImageDataset, Labels, Metric, Splits, has_many_labels
from triscale.data.datasets.birdsnap import read_birdsnap
from triscale.data.datasets.folders import FolderDataset
from triscale.data.datasets.matlab import check_mat
from triscale.data.datasets.packed import PackedStrings
from triscale.download import cache_folder

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSet:
    """One row of Table 6, and how its files are read."""

    title: str
    """As the paper prints it."""
    torchvision: str | None
    """The class of torchvision that downloads and reads it."""
    train: tuple[Mapping[str, object], ...] = ()
    """How that class is asked for the images to train on, part by part."""
    test: tuple[Mapping[str, object], ...] = ()
    classes: int
    train_images: int
    test_images: int
    metric: Metric
    """By custom: Kornblith, Shlens and Le 2019, Table 1."""
    folder: str
    """Below the root."""
    files: tuple[str, ...]
    """What must lie in `folder` besides images, and the folders of images, with a slash."""
    source: str
    """Where to get it by hand, and where it goes below the root, {root}."""


_TRAIN, _VAL, _TEST = {"split": "train"}, {"split": "val"}, {"split": "test"}
_TRAINVAL = {"split": "trainval"}
_VGG: Final = "https://www.robots.ox.ac.uk/~vgg/data"

TABLE_6: Final[Mapping[str, TransferSet]] = {
    "cifar-10": TransferSet(
        title="CIFAR-10",
        torchvision="CIFAR10",
        train=({"train": True},),
        test=({"train": False},),
        classes=10,
        train_images=50_000,
        test_images=10_000,
        metric=Metric.TOP1,
        folder="cifar-10-batches-py",
        files=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
        source="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz unpacked into {root}",
    ),
    "cifar-100": TransferSet(
        title="CIFAR-100",
        torchvision="CIFAR100",
        train=({"train": True},),
        test=({"train": False},),
        classes=100,
        train_images=50_000,
        test_images=10_000,
        metric=Metric.TOP1,
        folder="cifar-100-python",
        files=("train", "test", "meta"),
        source="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz unpacked into {root}",
    ),
    "birdsnap": TransferSet(
        title="Birdsnap",
        torchvision=None,
        classes=500,
        train_images=47_386,
        test_images=2_443,
        metric=Metric.TOP1,
        folder="birdsnap",
        files=("images.txt", "test_images.txt", "species.txt"),
        source="https://thomasberg.org/datasets/birdsnap/1.1/birdsnap.tgz unpacked into {root}, "
        "and the images that its get_birdsnap.py (Python 2) downloads into {root}/birdsnap/download/images",
    ),
    "stanford-cars": TransferSet(
        title="Stanford Cars",
        torchvision="StanfordCars",
        train=(_TRAIN,),
        test=(_TEST,),
        classes=196,
        train_images=8_144,
        test_images=8_041,
        metric=Metric.TOP1,
        folder="stanford_cars",
        files=(
            "devkit/cars_meta.mat",
            "devkit/cars_train_annos.mat",
            "cars_test_annos_withlabels.mat",
            "cars_train/",
            "cars_test/",
        ),
        source="a copy (its publishers took it down) of car_devkit.tgz, cars_train.tgz and cars_test.tgz unpacked "
        "into {root}/stanford_cars, and of cars_test_annos_withlabels.mat beside them",
    ),
    "flowers-102": TransferSet(
        title="Flowers",
        torchvision="Flowers102",
        train=(_TRAIN, _VAL),
        test=(_TEST,),
        classes=102,
        train_images=2_040,
        test_images=6_149,
        metric=Metric.MEAN_PER_CLASS,
        folder="flowers-102",
        files=("setid.mat", "imagelabels.mat", "jpg/"),
        source=f"102flowers.tgz, unpacked, setid.mat and imagelabels.mat from {_VGG}/flowers/102/ "
        "in {root}/flowers-102",
    ),
    "fgvc-aircraft": TransferSet(
        title="FGVC Aircraft",
        torchvision="FGVCAircraft",
        train=(_TRAINVAL,),
        test=(_TEST,),
        classes=100,
        train_images=6_667,
        test_images=3_333,
        metric=Metric.MEAN_PER_CLASS,
        folder="fgvc-aircraft-2013b/data",
        files=("variants.txt", "images_variant_trainval.txt", "images_variant_test.txt", "images/"),
        source=f"{_VGG}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz unpacked into {{root}}",
    ),
    "oxford-iiit-pets": TransferSet(
        title="Oxford-IIIT Pets",
        torchvision="OxfordIIITPet",
        train=(_TRAINVAL,),
        test=(_TEST,),
        classes=37,
        train_images=3_680,
        test_images=3_669,  # Table 6 prints 3,369, as does the table that it follows; the dataset has 7,349 images.
        metric=Metric.MEAN_PER_CLASS,
        folder="oxford-iiit-pet",
        files=("annotations/trainval.txt", "annotations/test.txt", "images/"),
        source=f"images.tar.gz and annotations.tar.gz from {_VGG}/pets/data/ unpacked into {{root}}/oxford-iiit-pet",
    ),
    "food-101": TransferSet(
        title="Food-101",
        torchvision="Food101",
        train=(_TRAIN,),
        test=(_TEST,),
        classes=101,
        train_images=75_750,
        test_images=25_250,
        metric=Metric.TOP1,
        folder="food-101",
        files=("meta/train.json", "meta/test.json", "images/"),
        source="http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz unpacked into {root}",
    ),
}
"""By the name that `open_dataset` takes."""


def usual_metric(name: str, labels: Labels) -> Metric:
    """What networks are compared by, by custom, on the dataset that `open_dataset` knows as `name`, with `labels`."""
    if has_many_labels(labels):
        return Metric.MEAN_AVERAGE_PRECISION
    for key, row in TABLE_6.items():
        if name == key or name.casefold() == f"torchvision:{row.torchvision}".casefold():
            return row.metric
    return Metric.TOP1


def open_transfer_set(name: str, *, root: Path | None) -> Splits:
    """The dataset of that row: its images to train on (with those it sets aside for validation), and its test images.

    It lies below `root`, or is downloaded there where it still can be; without `root`, below `torchvision` in the cache
    folder. `root` may also be the dataset's own folder. Images that are listed but not there are left out; a warning
    is logged when the numbers are not the published ones.
    Raises ValueError in one line that names the file which is missing or damaged, and what to do.
    """
    row = TABLE_6[name]
    place = cache_folder() / "torchvision" if root is None else _above(root, row)
    if row.torchvision is None:
        _check_files(row, place, "")
        parts: Sequence[ImageDataset] = read_birdsnap(place / row.folder)
    else:
        parts = _read_by_torchvision(row, row.torchvision, place)
    train, test = (_part(row, name, place, part, kind) for part, kind in zip(parts, ("train", "test"), strict=True))
    splits = Splits(train, _with_class_names(test, train.class_names))
    _compare_with_published(row, name, place, splits)
    return splits


def _above(root: Path, row: TransferSet) -> Path:
    """The root, where the dataset's own folder was named instead."""
    parts = Path(row.folder).parts
    inside = root.parts[-len(parts) :] == parts and (root / row.files[0]).exists()
    return root.parents[len(parts) - 1] if inside else root


def _read_by_torchvision(row: TransferSet, title: str, place: Path) -> tuple[ImageDataset, ImageDataset]:
    # Its file imports torch, which nothing else here needs.
    from triscale.data.datasets.torchvision import TorchvisionError, published_checksums, read_parts

    for path in (place / row.folder / file for file in row.files if file.endswith(".mat")):
        try:
            # Before torchvision hands it to SciPy, which damage brings down.
            if path.is_file():
                check_mat(path)
        except ValueError as error:
            raise ValueError(f"{error}; delete it, and get {_source(row, place)}") from None
    try:
        parts = read_parts(title, [*row.train, *row.test], folder=place)
    except TorchvisionError as error:
        for relative, md5 in published_checksums(title):
            path = place / relative
            if path.is_file() and (found := _md5(path)) != md5:
                reason = f"{path} is not the published file: its MD5 is {found}, not {md5}"
                raise ValueError(f"{reason}; delete it, and get {_source(row, place)}") from None
        _check_files(row, place, f" ({error.reason})")
        raise ValueError(f"{error}; {_files(row)} is damaged: delete it, and get {_source(row, place)}") from None
    count = len(row.train)
    return _joined(parts[:count]), _joined(parts[count:])


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _check_files(row: TransferSet, place: Path, reason: str) -> None:
    """Raise ValueError for the first of the row's files that is missing or damaged."""
    for name in row.files:
        path = place / row.folder / name
        if not (path.is_dir() if name.endswith("/") else path.is_file()):
            raise ValueError(f"there is no {path}{reason}; get {_source(row, place)}")
        try:
            _parse(path)
        except (ValueError, RecursionError) as error:
            text = str(error) if str(path) in str(error) else f"{path} is damaged: {' '.join(str(error).split())}"
            raise ValueError(f"{text}; delete it, and get {_source(row, place)}") from None


def _parse(path: Path) -> None:
    if path.suffix == ".mat":
        check_mat(path)
    elif path.suffix == ".json":
        json.loads(path.read_text("utf-8"))
    elif path.suffix == ".txt":
        path.read_text("utf-8")


def _files(row: TransferSet) -> str:
    return f"one of {', '.join(file for file in row.files if not file.endswith('/'))}"


def _source(row: TransferSet, place: Path) -> str:
    return row.source.replace("{root}", str(place))


def _joined(parts: Sequence[ImageDataset]) -> ImageDataset:
    if len(parts) == 1:
        return parts[0]
    folders = [part for part in parts if isinstance(part, FolderDataset)]
    assert len(folders) == len(parts)
    assert len({part.root for part in folders}) == 1
    files = PackedStrings.joined(part.files for part in folders)
    return replace(folders[0], files=files, labels=np.concatenate([part.labels for part in folders]))


def _part(row: TransferSet, name: str, place: Path, part: ImageDataset, kind: str) -> FolderDataset | ArrayDataset:
    """The part without files that are not there; raises ValueError where none is left."""
    folder = place / row.folder
    if isinstance(part, ArrayDataset):
        return replace(part, title=f"{name}/{kind}")
    assert isinstance(part, FolderDataset)
    kept = np.array(_files_there(part), np.int64)
    if not len(kept):
        raise ValueError(f"no {kind} image of {row.title} lies in {folder}; get {_source(row, place)}")
    names = list(part.files) if len(kept) < len(part.files) else []
    files = PackedStrings.of(names[index] for index in kept) if names else part.files
    return replace(part, files=files, labels=part.labels[kept])


def _files_there(part: FolderDataset) -> list[int]:
    """The numbers of images whose file is in its folder. Annotations may name files elsewhere: these are not there."""
    there: dict[str, set[str]] = {}
    kept = []
    for index, file in enumerate(part.files):
        folder, _, name = file.rpartition("/")
        if folder not in there:
            outside = folder.startswith("/") or ".." in folder.split("/")
            there[folder] = set() if outside else _names_in(f"{part.root}/{folder}")
        if name in there[folder]:
            kept.append(index)
    return kept


def _names_in(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names alone, a hundred thousand of them
    except OSError:
        return set()


def _with_class_names(test: FolderDataset | ArrayDataset, names: tuple[str, ...]) -> FolderDataset | ArrayDataset:
    """torchvision's Pets takes them from the images of each part, so that a part without a class would shift them."""
    return replace(test, class_names=names)


def _compare_with_published(row: TransferSet, name: str, place: Path, splits: Splits) -> None:
    train, test = (len(part.labels) for part in splits)
    used, classes = np.concatenate([part.labels for part in splits]), len(splits.train.class_names)
    if used.min() < 0 or used.max() >= classes:
        raise ValueError(
            f"{place / row.folder} holds labels {used.min()}..{used.max()} for {classes} classes; "
            f"{_files(row)} is not the published one: get {_source(row, place)}"
        )
    found = (train, test, classes)
    if found != (row.train_images, row.test_images, row.classes):
        _LOGGER.warning(
            "%s in %s has %d images to train on (published: %d), %d for the test (%d), %d classes (%d); "
            "results do not compare with published ones",
            name,
            place / row.folder,
            train,
            row.train_images,
            test,
            row.test_images,
            classes,
            row.classes,
        )
