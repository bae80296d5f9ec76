"""Photographs of scikit-image and scikit-learn as JPEGs of any size, for what reads files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image


class Files(NamedTuple):
    """How many JPEGs of one size."""

    width: int
    height: int
    count: int

    @property
    def name(self) -> str:
        """Such as 500x375."""
        return f"{self.width}x{self.height}"


def write_photographs(folder: Path, *wanted: Files) -> dict[str, list[Path]]:
    """Write JPEGs of quality 90 by size; enlarged ones are grained, so that their files have a camera's size."""
    photographs = [
        skimage.data.coffee(),
        skimage.data.astronaut(),
        sklearn.datasets.load_sample_image("china.jpg"),
        sklearn.datasets.load_sample_image("flower.jpg"),
    ]
    chance = np.random.default_rng(0)
    written: dict[str, list[Path]] = {}
    for files in wanted:
        size = (files.width, files.height)
        written[files.name] = paths = [folder / f"{files.name}-{index}.jpg" for index in range(files.count)]
        for index, path in enumerate(paths):
            picture = np.asarray(Image.fromarray(photographs[index % 4]).resize(size, Image.Resampling.LANCZOS))
            grain = chance.normal(0, 3, picture.shape).astype(np.float32)
            Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8)).save(path, quality=90)
    return written
