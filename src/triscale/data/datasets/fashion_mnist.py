"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 x 28 (Xiao, Rasul and Vollgraf 2017)."""

from pathlib import Path
from typing import Final

import numpy as np

from triscale.data.dataset import ArrayDataset, Splits
from triscale.data.datasets.idx import read_idx

CLASS_NAMES: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SYSTEM_FOLDER: Final = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""


def open_fashion_mnist(root: Path | None) -> Splits:
    """60,000 images to train on and 10,000 for validation, uint8 (28, 28, 1), ink white on black.

    From `root`, where the four files lie compressed or not; else from Debian's package.
    """
    folder = SYSTEM_FOLDER if root is None else root
    return Splits(_part(folder, "train"), _part(folder, "t10k"))


def _part(folder: Path, part: str) -> ArrayDataset:
    images = read_idx(_file(folder, f"{part}-images-idx3-ubyte"), dimensions=3)
    labels = read_idx(_file(folder, f"{part}-labels-idx1-ubyte"), dimensions=1)
    if len(images) != len(labels) or not len(labels):
        raise ValueError(f"{folder}: {len(images)} images and {len(labels)} labels do not belong together")
    if int(labels.max()) >= len(CLASS_NAMES):
        raise ValueError(f"{folder}: label {labels.max()} in {part}; Fashion-MNIST has 10 classes")
    return ArrayDataset(images[..., None], labels.astype(np.int64), CLASS_NAMES, f"fashion-mnist/{part}")


def _file(folder: Path, name: str) -> Path:
    found = next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)
    if found is None:
        raise ValueError(f"there is no {name}.gz in {folder}")
    return found
