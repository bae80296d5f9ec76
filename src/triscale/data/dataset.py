"""Labelled images behind one protocol, and the parts they are split into."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from triscale.data.pixels import Pixels, check_pixels
from triscale.data.read import Source

Labels = npt.NDArray[Any]
"""One label an image: int64 (N,). Or any number of labels an image: uint8 (N, classes) of 0 and 1."""
Indices = npt.NDArray[np.int64]


class ImageDataset(Protocol):
    """Labelled images by number. Worker processes get a copy, so it can be pickled and holds no open file."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, by label."""

    @property
    def labels(self) -> Labels:
        """The label of each image, int64 (N,), or its labels, uint8 (N, classes); known without reading any image."""

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
    """Picked once: reading one image asks for them."""

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

    def __post_init__(self) -> None:
        check_pixels(self.images)

    def image(self, index: int) -> Pixels:
        """uint8 (H, W, C)."""
        image: Pixels = self.images[index]
        return image

    def name(self, index: int) -> str:
        """The title and the number."""
        return f"{self.title} {index}"


class Metric(StrEnum):
    """What networks are compared by on a dataset, by custom (Kornblith et al. 2019, Table 1)."""

    TOP1 = "top1"
    """Share of images whose label is the network's first choice."""
    MEAN_PER_CLASS = "mean-per-class"
    """The same for each class, averaged over classes."""
    MEAN_AVERAGE_PRECISION = "map"
    """Average precision of each class, averaged over classes; for images with any number of labels."""


class Splits(NamedTuple):
    """What a dataset offers: images to train on, and images to be judged by once, at the end."""

    train: ImageDataset
    validation: ImageDataset


def has_many_labels(labels: Labels) -> bool:
    """Whether each image carries any number of labels, uint8 (N, classes), instead of one."""
    return labels.ndim == 2


def class_counts(labels: Labels, classes: int) -> tuple[int, ...]:
    """How many images carry each of `classes` labels."""
    counts = labels.sum(0, dtype=np.int64) if has_many_labels(labels) else np.bincount(labels, minlength=classes)
    return tuple(counts.tolist())


def label_text(dataset: ImageDataset, index: int) -> str:
    """The name of the class of image `index`; where it may have many, their names with commas between them."""
    label = dataset.labels[index]
    numbers = np.flatnonzero(label) if has_many_labels(dataset.labels) else [label]
    return ", ".join(dataset.class_names[number] for number in numbers)


def _strata(labels: Labels) -> Labels:
    """(N,) numbers by which images are grouped: the label, or for many labels the rarest of an image's."""
    if not has_many_labels(labels):
        return labels
    counts = labels.sum(0, dtype=np.int64)
    rarest = np.where(labels > 0, counts, len(labels) + 1).argmin(1)
    strata: Labels = np.where(labels.any(1), rarest, labels.shape[1])
    return strata


def hold_out(dataset: ImageDataset, *, count: int, seed: int) -> tuple[Subset, Subset]:
    """Split into the rest and `count` images held out, drawn by `seed` class by class.

    Each class gives its share, to within one image, so that rare classes are held out too; an image with many labels
    counts for its rarest. The same arguments give the same split on every machine. Raises ValueError unless both
    parts hold an image.
    """
    labels = dataset.labels
    if not 0 < count < len(labels):
        raise ValueError(f"cannot hold out {count} of {len(labels)} images; both parts need at least one")
    generator = np.random.Generator(np.random.Philox(key=seed))
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(_strata(labels)[shuffled], kind="stable")]
    # Every n-th image of the list sorted by class is held out: each class in proportion.
    marks = (np.arange(len(labels)) * count // len(labels)) != ((np.arange(len(labels)) + 1) * count // len(labels))
    held, rest = np.sort(by_class[marks]), np.sort(by_class[~marks])
    return Subset(dataset, rest), Subset(dataset, held)
