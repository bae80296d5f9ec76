"""Labelled images behind one protocol, and the parts they are split into."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from triscale.data.pixels import Pixels
from triscale.data.read import Source

Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]


class ImageDataset(Protocol):
    """Labelled images by number. Worker processes get a copy, so it can be pickled and holds no open file."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, by label."""

    @property
    def labels(self) -> Labels:
        """The label of each image, (N,), known without reading any image."""

    def image(self, index: int) -> Source | Pixels:
        """Image `index`: a file or its bytes, still encoded, or decoded pixels uint8 (H, W, C), C = 1 or 3.

        Raises ImageError where its bytes cannot be had.
        """

    def name(self, index: int) -> str:
        """What to call image `index` in messages: a path, or an address inside an archive."""


@dataclass(frozen=True, eq=False)
class Subset:
    """Some images of a dataset, in a given order."""

    dataset: ImageDataset
    indices: Indices
    labels: Labels = field(init=False)
    """(N,) labels, picked once: reading one image asks for them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", self.dataset.labels[self.indices])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the whole dataset, also where a class has no image here."""
        return self.dataset.class_names

    def image(self, index: int) -> Source | Pixels:
        """As the whole dataset gives it."""
        return self.dataset.image(int(self.indices[index]))

    def name(self, index: int) -> str:
        """As the whole dataset calls it."""
        return self.dataset.name(int(self.indices[index]))


@dataclass(frozen=True, slots=True, eq=False)
class ArrayDataset:
    """Images that lie decoded in memory: uint8 (N, H, W, C) with (N,) labels."""

    images: Pixels
    labels: Labels
    class_names: tuple[str, ...]
    title: str = "image"

    def image(self, index: int) -> Pixels:
        """uint8 (H, W, C)."""
        image: Pixels = self.images[index]
        return image

    def name(self, index: int) -> str:
        """The title and the number."""
        return f"{self.title} {index}"


class Splits(NamedTuple):
    """What a dataset offers: images to train on, and images to be judged by once, at the end."""

    train: ImageDataset
    validation: ImageDataset


def hold_out(dataset: ImageDataset, *, count: int, seed: int) -> tuple[Subset, Subset]:
    """Split into the rest and `count` images held out, drawn by `seed` class by class.

    Each class gives its share, to within one image, so that rare classes are held out too. The same arguments
    give the same split on every machine. Raises ValueError unless both parts hold an image.
    """
    labels = dataset.labels
    if not 0 < count < len(labels):
        raise ValueError(f"cannot hold out {count} of {len(labels)} images; both parts need at least one")
    generator = np.random.Generator(np.random.Philox(key=seed))
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # Every n-th image of the list sorted by class is held out: each class in proportion.
    marks = (np.arange(len(labels)) * count // len(labels)) != ((np.arange(len(labels)) + 1) * count // len(labels))
    held, rest = np.sort(by_class[marks]), np.sort(by_class[~marks])
    return Subset(dataset, rest), Subset(dataset, held)
