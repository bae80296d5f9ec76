"""How large the images of a dataset are, and how a network should be given them."""

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import Resolution
from triscale.data.augmentation import SMALL
from triscale.data.dataset import ImageDataset
from triscale.data.errors import ImageError
from triscale.data.read import read_image

LOOKED_AT: Final = 9
"""Images whose sizes are taken for those of a whole dataset."""
ENLARGED: Final = 4
"""How many times the side of small images is taken, up to the network's own resolution."""


class Shape(NamedTuple):
    """Of the images of a dataset."""

    side: int
    """The larger side of a typical one, in pixels."""
    channels: int | None
    """None for files of pictures, which can be read as colours or grey, whatever a network takes."""


def image_shape(dataset: ImageDataset) -> Shape:
    """What images a network will have to do with, by a few of them, spread over the dataset.

    Raises ValueError where none of them can be read.
    """
    sides, channels, broken = [], None, []
    for index in np.linspace(0, len(dataset.labels) - 1, LOOKED_AT).astype(int).tolist():
        try:
            image = dataset.image(index)
            pixels = image if isinstance(image, np.ndarray) else read_image(image)
        except ImageError as error:
            broken.append(error)
            continue
        sides.append(max(pixels.shape[:2]))
        channels = pixels.shape[2] if isinstance(image, np.ndarray) or pixels.shape[2] != 3 else None
    if not sides:
        raise ValueError(f"none of {len(broken)} images could be read, the first {broken[0]}; try `triscale check`")
    return Shape(int(np.median(sides)), channels)


def suited(own: Preprocessing, shape: Shape, resolution: Resolution | None = None) -> Preprocessing:
    """A network's `own` preprocessing for images of that shape, at `resolution`.

    It defaults to the network's own; for images of up to 64 pixels, which are shown whole, to four times theirs, at
    least 96 and at most the network's.
    """
    if shape.side <= SMALL:
        enlarged = Resolution(*(min(side, max(96, ENLARGED * shape.side)) for side in own.resolution))
        return replace(own, resolution=resolution or enlarged, crop=1.0)
    return replace(own, resolution=resolution or own.resolution)
