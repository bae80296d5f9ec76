"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 x 28 (Xiao, Rasul and Vollgraf 2017)."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from triscale.data.dataset import ArrayDataset, Splits
from triscale.data.datasets.idx import read_idx, unpack_idx
from triscale.download import download

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


DOWNLOAD: Final = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
DIGESTS: Final = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""sha256 of each file unpacked: how it was compressed differs from one publisher to the next."""


def open_fashion_mnist(root: Path | None) -> Splits:
    """60,000 images to train on and 10,000 for validation, uint8 (28, 28, 1), ink white on black.

    From `root`, where the four files lie compressed or not; else from Debian's package; else downloaded, 30 MB.
    """
    if root is not None:
        return read_fashion_mnist(lambda name: _in_folder(root, name))
    if SYSTEM_FOLDER.is_dir():
        return read_fashion_mnist(lambda name: _in_folder(SYSTEM_FOLDER, name))
    return download_fashion_mnist()


def download_fashion_mnist(address: str = DOWNLOAD, digests: Mapping[str, str] = DIGESTS) -> Splits:
    """From below `address`, kept in the cache folder.

    Raises ValueError where a file is not the published one, after deleting it, or cannot be had.
    """

    def fetch(name: str) -> Path:
        path = download(f"{address}/{name}.gz", largest=1 << 27)
        try:
            found = hashlib.sha256(unpack_idx(path)).hexdigest()
        except ValueError:
            path.unlink()
            raise
        if found != digests[name]:
            path.unlink()
            raise ValueError(f"{address}/{name}.gz is not Fashion-MNIST: sha256 {found} unpacked; it was deleted")
        return path

    return read_fashion_mnist(fetch)


def read_fashion_mnist(find: Callable[[str], Path]) -> Splits:
    """From the files that `find` gives for their names."""
    return Splits(_part(find, "train"), _part(find, "t10k"))


def _part(find: Callable[[str], Path], part: str) -> ArrayDataset:
    images_path, labels_path = find(f"{part}-images-idx3-ubyte"), find(f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, dimensions=3), read_idx(labels_path, dimensions=1)
    if len(images) != len(labels) or not images.size:
        raise ValueError(f"{images_path} holds {len(images)} images and {labels_path.name} {len(labels)} labels")
    if int(labels.max()) >= len(CLASS_NAMES):
        raise ValueError(f"{labels_path} holds the label {labels.max()}; Fashion-MNIST has {len(CLASS_NAMES)} classes")
    return ArrayDataset(images[..., None], labels.astype(np.int64), CLASS_NAMES, f"fashion-mnist/{part}")


def _in_folder(folder: Path, name: str) -> Path:
    found = next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)
    if found is None:
        raise ValueError(f"there is no {name}.gz in {folder}")
    return found
