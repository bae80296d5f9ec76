"""The worst mistakes of an evaluation as pictures with their maps, for the page that ends a run."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from triscale.data.box import Box
from triscale.data.dataset import ImageDataset
from triscale.data.errors import ImageError
from triscale.data.pixels import Pixels, to_look_at
from triscale.data.read import read_image
from triscale.explain.explanation import Explainer, explainer
from triscale.explain.files import write_jpeg
from triscale.explain.overlay import overlay
from triscale.models.files import Model
from triscale.storage import remove_partial, write_text

FORMAT, VERSION = "triscale-mistakes", 1
FILE, FOLDER = "mistakes.json", "mistakes"
LARGEST = 320
"""Longer side of the pictures, in pixels."""
SMALLEST = 160
"""Smaller pictures are enlarged to up to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """An image that the model got wrong."""

    index: int
    """In the dataset."""
    label: str
    predicted: int
    """Output of the classifier; the map is for it."""
    probability: float
    """Of what was predicted."""
    probability_of_label: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One entry of the file."""

    image: str
    label: str
    predicted: str
    probability: float
    probability_of_label: float
    picture: str
    map: str


def _read(dataset: ImageDataset, index: int) -> Pixels:
    image = dataset.image(index)
    return image if isinstance(image, np.ndarray) else read_image(image)


def _shown(picture: Pixels) -> tuple[Pixels, int]:
    """A tiny picture enlarged, its pixels still squares, and how many times."""
    times = max(1, SMALLEST // max(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1), times


def _thumbnail(picture: Pixels) -> Pixels:
    """No side longer than `LARGEST`."""
    height, width = picture.shape[:2]
    factor = min(1.0, LARGEST / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _write_pair(ready: Explainer, picture: Pixels, folder: Path, stem: str) -> tuple[str, str]:
    """Write the picture and its overlay; returns their paths from `folder`."""
    view = ready.view(picture)
    large, times = _shown(to_look_at(picture))
    box = Box(*(times * side for side in view.box))
    plain, coloured = f"{FOLDER}/{stem}.jpg", f"{FOLDER}/{stem}-map.jpg"
    write_jpeg(folder / plain, _thumbnail(large))
    write_jpeg(folder / coloured, _thumbnail(overlay(large, view.values, box, highest=view.highest)))
    return plain, coloured


def _rows(folder: Path, model: Model, dataset: ImageDataset, mistakes: Sequence[Mistake], count: int) -> Iterator[_Row]:
    names = model.card.class_names or dataset.class_names
    ready = explainer(model.network.spec.name, model)
    written = 0
    for mistake in mistakes:
        if written == count:
            return
        try:
            picture = _read(dataset, mistake.index)
        except ImageError:
            continue
        predicted = mistake.predicted
        plain, coloured = _write_pair(replace(ready, wanted=predicted), picture, folder, f"{written:03d}")
        yield _Row(
            image=dataset.name(mistake.index),
            label=mistake.label,
            predicted=names[predicted] if names else str(predicted),
            probability=mistake.probability,
            probability_of_label=mistake.probability_of_label,
            picture=plain,
            map=coloured,
        )
        written += 1


def write_mistakes(
    folder: Path, model: Model, dataset: ImageDataset, mistakes: Sequence[Mistake], *, count: int = 12
) -> Path:
    """Write the first `count` of `mistakes` that can be read to `folder`: mistakes.json and two pictures of each.

    mistakes/000.jpg is the image, at most `LARGEST` pixels long, mistakes/000-map.jpg has the map of the predicted
    class over it. Each file is written whole or not at all, the list last, so that it names only pictures that are
    there; then the pictures of a longer list before are removed. Returns the path of the list.
    Raises ValueError where `folder` does not exist, and for a model without classes.
    """
    if not folder.is_dir():
        raise ValueError(f"cannot write mistakes: there is no folder {folder}")
    pictures = folder / FOLDER
    pictures.mkdir(exist_ok=True)
    rows = [asdict(row) for row in _rows(folder, model, dataset, mistakes, count)]
    path = folder / FILE
    content = {"format": FORMAT, "version": VERSION, "mistakes": rows}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    named = {row[key] for row in rows for key in ("picture", "map")}
    for picture in pictures.glob("[0-9][0-9][0-9]*.jpg"):
        if f"{FOLDER}/{picture.name}" not in named:
            picture.unlink()
    remove_partial(pictures)
    return path
