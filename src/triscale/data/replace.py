"""A broken image never stops a run: another takes its place, always the same one."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from triscale.data.dataset import ImageDataset, Labels, has_many_labels
from triscale.data.errors import ImageError
from triscale.data.pixels import Pixels
from triscale.data.randomness import Purpose, generator
from triscale.data.read import Source

Transform = Callable[[Source | Pixels, np.random.Generator], Pixels]

TRIES: Final = 100
"""Images read for one place in a batch before giving up; the first half of the class that is wanted."""


class Reading(NamedTuple):
    """An image for one place in a batch."""

    pixels: Pixels
    label: np.int64 | npt.NDArray[np.uint8]
    """Of the image that was read, which in a class of broken ones is another class's; (classes,) for many labels."""
    errors: tuple[ImageError, ...]
    """What is wrong with the image meant for the place and with the replacements tried; empty for a good one."""


def read_or_replace(dataset: ImageDataset, index: int, transform: Transform, *, seed: int, epoch: int) -> Reading:
    """Image `index` as `transform` makes it, or where it is broken another, of the same class if possible.

    A pure function of its arguments: every process, and a resumed run, reads the same image. The errors are
    made anew, so that none holds on to a file's bytes.
    Raises ValueError when `TRIES` images in turn, or all there are, cannot be read.
    """
    labels = dataset.labels
    errors: list[ImageError] = []
    for candidate in _candidates(labels, index, seed=seed, epoch=epoch):
        try:
            randomness = generator(Purpose.AUGMENT, seed=seed, epoch=epoch, index=index)
            pixels = transform(dataset.image(candidate), randomness)
        except ImageError as error:
            errors.append(ImageError(dataset.name(candidate), error.reason))
        else:
            return Reading(pixels, labels[candidate], tuple(errors))
    raise ValueError(
        f"none of {len(errors)} images in turn could be read, the first {errors[0]}; "
        "`triscale check DATA` names all that are broken"
    )


def _candidates(labels: Labels, index: int, *, seed: int, epoch: int) -> Iterator[int]:
    """`index` first; the others are drawn only when asked for, since nearly every image is good."""
    yield index
    chooser = generator(Purpose.REPLACE, seed=seed, epoch=epoch, index=index)
    alike = labels == labels[index]
    same = np.flatnonzero(alike.all(1) if has_many_labels(labels) else alike)
    same = same[same != index]
    tried = chooser.choice(same, min(TRIES // 2, len(same)), replace=False)
    yield from map(int, tried)
    any_class = chooser.choice(len(labels), min(TRIES, len(labels)), replace=False)
    rest = any_class[~np.isin(any_class, [index, *tried])]
    yield from map(int, rest[: TRIES - 1 - len(tried)])
