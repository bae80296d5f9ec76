"""From what a person calls a dataset to its images."""

import difflib
import math
from pathlib import Path
from typing import Final

from triscale.data.dataset import Splits
from triscale.data.datasets.csv_files import csv_parts, is_csv, open_csv
from triscale.data.datasets.fashion_mnist import open_fashion_mnist
from triscale.data.datasets.folders import find_parts, open_folders
from triscale.data.datasets.huggingface import is_saved, open_saved
from triscale.data.datasets.imagenet import is_imagenet, open_imagenet
from triscale.data.datasets.shards import names_shards, open_shard_files, open_shards, shards_in
from triscale.data.datasets.synthetic import open_synthetic
from triscale.data.datasets.table6 import TABLE_6
from triscale.data.datasets.transfer_sets import open_transfer_set
from triscale.data.errors import printable

NAMES: Final = ("digits", "fashion-mnist", "synthetic", "torchvision:CIFAR10", *TABLE_6)
"""Datasets that go by a name; a folder called the same is meant by ./NAME."""


def open_dataset(name: str, *, seed: int = 0, validation_fraction: float = 0.2, root: Path | None = None) -> Splits:
    """Images to train on and images for validation, from a name, a folder or tar shards.

    `digits`, `fashion-mnist`, `synthetic` or `synthetic:classes=10,images=1000,size=500x375,jpeg=1`,
    `torchvision:CIFAR10` and the like, those of Table 6 (`open_transfer_set`), a folder (`open_folders`,
    `open_imagenet`), a CSV file or a folder of them (`open_csv`), what Hugging Face's library saved (`open_saved`), a
    folder of tar shards or their paths or addresses (`open_shards`). What comes without a validation part gives
    `validation_fraction` of each class, drawn by `seed`. `root` is the folder with the files of a dataset that goes by
    a name or an address, and where they are downloaded to; without it, they lie in the cache folder.
    No image is decoded. Raises ValueError in one line for whatever is not there or not of the right shape.
    """
    if not (math.isfinite(validation_fraction) and 0 < validation_fraction < 1):
        raise ValueError(f"validation_fraction must lie between 0 and 1, got {validation_fraction:g}")
    if not 0 <= seed < 1 << 63:
        raise ValueError(f"seed must lie in 0..2**63-1, got {seed}")
    kind, _, options = name.partition(":")
    if name == "digits":
        # scikit-learn takes a second to import, which nothing else here needs.
        from triscale.data.datasets.digits import open_digits

        return open_digits(seed=seed, validation_fraction=validation_fraction)
    if name == "fashion-mnist":
        return open_fashion_mnist(root)
    if name in TABLE_6:
        return open_transfer_set(name, root=root)
    if kind == "synthetic":
        return open_synthetic(options, seed=seed)
    if kind == "torchvision":
        # Its file imports torch, which nothing else here needs.
        from triscale.data.datasets.torchvision import open_torchvision

        return open_torchvision(options, root=root, seed=seed, validation_fraction=validation_fraction)
    if names_shards(name):
        return open_shards(name, root=root, seed=seed, validation_fraction=validation_fraction)
    if "\0" in name or not Path(name).exists():
        raise _unknown(name)
    return _open_path(Path(name), seed=seed, validation_fraction=validation_fraction)


def _open_path(path: Path, *, seed: int, validation_fraction: float) -> Splits:
    if not path.is_dir():
        if not is_csv(path.name):
            raise ValueError(
                f"{printable(str(path))} is a file; give the folder that holds the class folders, or a .csv"
            )
        return open_csv([path], seed=seed, validation_fraction=validation_fraction)
    if is_saved(path):
        return open_saved(path, seed=seed, validation_fraction=validation_fraction)
    if tables := csv_parts(path):
        return open_csv(tables, seed=seed, validation_fraction=validation_fraction)
    if shards := shards_in(path):
        return open_shard_files(shards, seed=seed, validation_fraction=validation_fraction)
    train, validation = find_parts(path)
    if is_imagenet(train):
        return open_imagenet(path, train, validation, seed=seed, validation_fraction=validation_fraction)
    return open_folders(path, seed=seed, validation_fraction=validation_fraction)


def _unknown(name: str) -> ValueError:
    near = difflib.get_close_matches(name.casefold(), NAMES, n=1)
    near = near or [known for known in NAMES if len(name) > 3 and name.casefold() in known]
    valid = (
        f"did you mean {near[0]}?" if near else f"give a folder, tar shards, a CSV file, or one of {', '.join(NAMES)}"
    )
    return ValueError(f"there is no dataset or folder '{printable(name)}'; {valid}")
