"""From what a person calls a dataset to its images."""

import difflib
import math
from pathlib import Path
from typing import Final

from triscale.data.dataset import Splits
from triscale.data.datasets.digits import open_digits
from triscale.data.datasets.fashion_mnist import open_fashion_mnist
from triscale.data.datasets.folders import open_folders
from triscale.data.datasets.synthetic import open_synthetic
from triscale.data.errors import printable

NAMES: Final = ("digits", "fashion-mnist", "synthetic")
"""Datasets that go by a name; a folder called the same is meant by ./NAME."""


def open_dataset(name: str, *, seed: int = 0, validation_fraction: float = 0.2, root: Path | None = None) -> Splits:
    """Images to train on and images for validation, from a name, a folder or tar shards.

    `digits`, `fashion-mnist`, `synthetic` or `synthetic:classes=10,images=1000,size=500x375,jpeg=1`, or a
    folder (see `open_folders`). What comes without a validation part gives `validation_fraction` of each
    class, drawn by `seed`. `root` is the folder that holds, or is to hold, the files of a named dataset.
    No image is decoded. Raises ValueError in one line for whatever is not there or not of the right shape.
    """
    if not (math.isfinite(validation_fraction) and 0 < validation_fraction < 1):
        raise ValueError(f"validation_fraction must lie between 0 and 1, got {validation_fraction:g}")
    if not 0 <= seed < 1 << 63:
        raise ValueError(f"seed must lie in 0..2**63-1, got {seed}")
    kind, _, options = name.partition(":")
    if name == "digits":
        return open_digits(seed=seed, validation_fraction=validation_fraction)
    if name == "fashion-mnist":
        return open_fashion_mnist(root)
    if kind == "synthetic":
        return open_synthetic(options, seed=seed)
    return _open_path(name, seed=seed, validation_fraction=validation_fraction)


def _open_path(name: str, *, seed: int, validation_fraction: float) -> Splits:
    path = Path(name)
    if "\0" in name or not path.exists():
        near = difflib.get_close_matches(name, NAMES, n=1)
        valid = f"did you mean {near[0]}?" if near else f"give a folder, tar shards, or one of {', '.join(NAMES)}"
        raise ValueError(f"there is no dataset or folder {printable(name)!r}; {valid}")
    if not path.is_dir():
        raise ValueError(f"{printable(name)} is a file; give the folder that holds the class folders")
    return open_folders(path, seed=seed, validation_fraction=validation_fraction)
