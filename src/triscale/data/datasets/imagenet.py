"""ImageNet (ILSVRC 2012) as it is unpacked: classes are folders called by their WordNet ids."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from triscale.data.dataset import Splits
from triscale.data.datasets.folders import FolderDataset, read_class_folders, subfolders
from triscale.data.datasets.matlab import read_mat
from triscale.data.datasets.packed import PackedStrings
from triscale.data.datasets.split import split_by_seed
from triscale.data.find import is_image_name
from triscale.imagenet import imagenet_class_names, imagenet_wordnet_ids

DEVKIT: Final = "ILSVRC2012_devkit_t12/data"
"""Where the development kit unpacks its tables."""
DEVKIT_TRUTH: Final = "ILSVRC2012_validation_ground_truth.txt"
TRUTHS: Final = (
    "LOC_val_solution.csv",
    "val.txt",
    "val_labels.txt",
    "val_map.txt",
    "synset_labels.txt",
    "imagenet_2012_validation_synset_labels.txt",
    DEVKIT_TRUTH,
)
"""Files that say the class of each validation image: Kaggle's, Caffe's, TensorFlow's, the development kit's."""
_LARGEST_TRUTH: Final = 1 << 26


def is_imagenet(train: Path) -> bool:
    """Whether every folder in `train` is called by the WordNet id of an ImageNet class."""
    names = subfolders(train)
    return bool(names) and set(names) <= set(imagenet_wordnet_ids())


def open_imagenet(root: Path, train: Path, validation: Path | None, *, seed: int, validation_fraction: float) -> Splits:
    """ImageNet, or some of its classes, with the classes' names in words.

    Labels follow the sorted WordNet ids, as those of all released weights do. The validation images lie in folders
    of classes, or flat as they are published; then one of `TRUTHS` in `root`, beside them or in the development
    kit's folder says their classes. Raises ValueError with what is missing.
    """
    training = read_class_folders(train)
    if validation is None:
        return split_by_seed(_in_words(training), seed=seed, fraction=validation_fraction)
    if subfolders(validation):
        held_out = read_class_folders(validation, expected=training.class_names)
    else:
        held_out = _read_flat(validation, _read_truth(root, validation), training.class_names)
    return Splits(_in_words(training), _in_words(held_out))


def _in_words(dataset: FolderDataset) -> FolderDataset:
    words = dict(zip(imagenet_wordnet_ids(), imagenet_class_names(), strict=True))
    return replace(dataset, class_names=tuple(words[identifier] for identifier in dataset.class_names))


def _read_flat(folder: Path, truth: Mapping[str, str], identifiers: tuple[str, ...]) -> FolderDataset:
    """Images in one folder, with the WordNet id for each file's name, without suffix, in `truth`."""
    label_of = {identifier: label for label, identifier in enumerate(identifiers)}
    files = sorted(entry.name for entry in os.scandir(folder) if is_image_name(entry.name))
    if not files:
        raise ValueError(f"no image lies in {folder}")
    labels = np.empty(len(files), np.int64)
    for index, file in enumerate(files):
        identifier = truth.get(Path(file).stem)
        if identifier not in label_of:
            reason = "no class is given" if identifier is None else f"training lacks its class {identifier}"
            raise ValueError(f"{folder / file}: {reason}")
        labels[index] = label_of[identifier]
    return FolderDataset(str(folder), PackedStrings.of(files), labels, identifiers)


def _read_truth(root: Path, validation: Path) -> dict[str, str]:
    """The WordNet id of each validation image, by its name without suffix."""
    places = (root, validation, root / DEVKIT, root / "devkit" / "data")
    for path in (place / name for place in places for name in TRUTHS):
        if path.is_file():
            return dict(_entries(path))
    raise ValueError(
        f"the images in {validation} lie in no class folders, and no file says their classes; "
        f"put one of {', '.join(TRUTHS)} into {root}, or sort the images into folders called by WordNet ids"
    )


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    if path.stat().st_size > _LARGEST_TRUTH:
        raise ValueError(f"{path} is too large for a list of classes")
    rows = [words for line in path.read_text("utf-8", "replace").splitlines() if (words := re.split(r"[,\s]+", line))]
    rows = [words for words in rows if words[0] and words[0] != "ImageId"]
    if path.name == DEVKIT_TRUTH:
        order = _devkit_order(path.with_name("meta.mat"))
        rows = [[_published_name(number), str(order.get(row[0]))] for number, row in enumerate(rows, start=1)]
    elif all(len(row) == 1 for row in rows):
        rows = [[_published_name(number), row[0]] for number, row in enumerate(rows, start=1)]
    identifiers = imagenet_wordnet_ids()
    for row in rows:
        name, word = Path(row[0]).stem, row[1] if len(row) > 1 else ""
        if word.isascii() and word.isdigit() and int(word) < len(identifiers):
            word = identifiers[int(word)]
        elif word not in identifiers:
            raise ValueError(f"{path}: {word!r} for {name!r} is no WordNet id of ImageNet and no label in 0..999")
        yield name, word


def _published_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08}"


def _devkit_order(path: Path) -> dict[str, str]:
    """From the development kit's own numbers, which no one else uses, to WordNet ids."""
    if not path.is_file():
        raise ValueError(f"there is no {path}, without which {DEVKIT_TRUTH} says nothing")
    synsets = read_mat(path, ["synsets"])["synsets"]
    try:
        return {str(int(row["ILSVRC2012_ID"])): str(row["WNID"]) for row in synsets}
    except Exception as error:  # another file fails in whatever way it is another
        raise ValueError(f"{path} is not the development kit's: {error}") from None
