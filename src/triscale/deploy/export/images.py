"""Images that exports are compared on, calibrated with and judged by."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from triscale.arch.preprocessing import Preprocessing
from triscale.data.batches import Given, read_batches
from triscale.data.dataset import ImageDataset, has_many_labels
from triscale.data.datasets import open_dataset
from triscale.data.errors import ImageError
from triscale.data.find import find_images
from triscale.deploy.photographs import installed_photographs
from triscale.models.card import ModelCard

COMPARED: Final = 16
"""Images that an exported file is compared with torch on."""
CALIBRATED: Final = 128
"""Images that the ranges of int8 are taken from."""
JUDGED: Final = 2000
"""Images that int8 is judged by."""
_BYTES: Final = 512 << 20
"""Prepared images take no more memory than that."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Images prepared for a network."""

    images: npt.NDArray[np.uint8]
    """uint8 (N, H, W, C)."""
    rows: npt.NDArray[np.int64]
    """Which of the sources each is of, since broken ones are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Int8Images:
    """What a network is rounded to int8 with, and judged by."""

    calibration: npt.NDArray[np.uint8]
    judged: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    """The right outputs (N,) for `judged`, where they are known."""


def spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` of the numbers 0..count-1, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def prepare(sources: Sequence[Given], preprocessing: Preprocessing, *, most: int) -> Pictures:
    """At most `most` of `sources`, evenly spread, as many as memory allows, without broken ones.

    Raises ValueError, with what is wrong with the first, where none can be read.
    """
    size = preprocessing.resolution.height * preprocessing.resolution.width * len(preprocessing.mean)
    chosen = spread(len(sources), max(1, min(most, _BYTES // size)))
    images: list[npt.NDArray[np.uint8]] = []
    rows: list[np.int64] = []
    errors: list[ImageError] = []
    number = 0
    for batch in read_batches(
        [sources[index] for index in chosen], preprocessing, batch_size=16, workers=os.cpu_count() or 1
    ):
        images.append(batch.images)
        errors += batch.errors
        for _, outcome in batch.outcomes:
            if isinstance(outcome, int):
                rows.append(chosen[number])
            number += 1
    if not rows:
        raise ValueError(f"no image can be read: {errors[0]}" if errors else "there is no image")
    return Pictures(np.concatenate(images), np.array(rows, np.int64))


def compared_images(where: Iterable[str], preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Images of files, folders or patterns; of none, photographs that come with installed packages."""
    where = list(where)
    sources: list[Given] = list(find_images(where)) if where else list(installed_photographs())
    if not sources:
        raise ValueError("no photographs are installed to compare on; name some: --images FOLDER")
    return prepare(sources, preprocessing, most=COMPARED).images


def int8_images(where: str, card: ModelCard, *, outputs: int) -> Int8Images:
    """The images of `where`, with labels where it is a dataset of classes that the model knows by name.

    Of a dataset, training images calibrate and validation images judge. Of other images, half do each where there are
    many; few do both.
    """
    found = _labelled(where, card, outputs=outputs)
    if found is not None:
        train, validation, outputs_of = found
        calibration = prepare(_given(train, CALIBRATED), card.preprocessing, most=CALIBRATED)
        chosen = spread(len(validation.labels), JUDGED)
        judged = prepare([validation.image(index) for index in chosen], card.preprocessing, most=JUDGED)
        labels = outputs_of[validation.labels[chosen[judged.rows]]]
        return Int8Images(calibration.images, judged.images, labels)
    sources: list[Given] = list(find_images([where]))
    if len(sources) < 2 * COMPARED:
        images = prepare(sources, card.preprocessing, most=JUDGED).images
        return Int8Images(images[spread(len(images), CALIBRATED)], images, None)
    return Int8Images(
        prepare(sources[::2], card.preprocessing, most=CALIBRATED).images,
        prepare(sources[1::2], card.preprocessing, most=JUDGED).images,
        None,
    )


def _given(dataset: ImageDataset, most: int) -> list[Given]:
    return [dataset.image(int(index)) for index in spread(len(dataset.labels), most)]


def _labelled(
    where: str, card: ModelCard, *, outputs: int
) -> tuple[ImageDataset, ImageDataset, npt.NDArray[np.int64]] | None:
    """The parts of a dataset and which output stands for which of its labels; None where classes are not known."""
    try:
        train, validation = open_dataset(where)
    except ValueError:
        return None
    if has_many_labels(validation.labels):
        return None
    asked, known = validation.class_names, card.class_names
    if not known:
        return (train, validation, np.arange(outputs)) if len(asked) == outputs else None
    place = {name: output for output, name in enumerate(known)}
    if not set(asked) <= set(place):
        return None
    return train, validation, np.array([place[name] for name in asked], np.int64)
