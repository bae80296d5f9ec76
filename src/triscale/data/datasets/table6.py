"""The eight datasets that the paper transfers to, with its splits and their usual metrics (Table 6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from triscale.data.dataset import Labels, Metric, has_many_labels


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
