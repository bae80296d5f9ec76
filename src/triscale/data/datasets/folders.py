"""Folders of images, one folder a class."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from triscale.data.dataset import Labels, Splits
from triscale.data.datasets.packed import PackedStrings
from triscale.data.datasets.split import split_by_seed
from triscale.data.errors import printable
from triscale.data.find import is_image_name

TRAIN_FOLDERS: Final = ("train", "training")
VALIDATION_FOLDERS: Final = ("val", "valid", "validation", "test", "testing")
"""In order of preference; upper case counts as lower case."""


@dataclass(frozen=True, slots=True, eq=False)
class FolderDataset:
    """Image files below one folder, with a label each."""

    root: str
    files: PackedStrings
    """Relative to `root`, or absolute."""
    labels: Labels
    class_names: tuple[str, ...]

    def image(self, index: int) -> Path:
        """The file."""
        return Path(self.name(index))

    def name(self, index: int) -> str:
        """The file's path."""
        return os.path.join(self.root, self.files[index])  # noqa: PTH118 - a Path is slow


def open_folders(root: Path, *, seed: int, validation_fraction: float) -> Splits:
    """The images of `root`: `train/` with `val/` beside it, or else one folder of classes split by seed.

    Classes are the folders in natural order (2 before 10). Every image below a class's folder is its, found as
    `find_images` finds them; hidden files and folders are passed over, links followed.
    `train/` counts as a part, not as a class, where it holds folders itself. Validation may lack a class, but
    not have one that training lacks. No file is opened. Raises ValueError for a folder of another shape.
    """
    train, validation = find_parts(root)
    training = read_class_folders(train)
    if validation is None:
        return split_by_seed(training, seed=seed, fraction=validation_fraction)
    return Splits(training, read_class_folders(validation, expected=training.class_names))


def find_parts(root: Path) -> tuple[Path, Path | None]:
    """The folders of training and of validation images below `root`; just `root` where it holds the classes."""
    folders = {name.casefold(): name for name in subfolders(root)}
    train = next((folders[name] for name in TRAIN_FOLDERS if name in folders), None)
    validation = next((folders[name] for name in VALIDATION_FOLDERS if name in folders), None)
    if train is not None and subfolders(root / train):
        return root / train, None if validation is None else root / validation
    return root, None


def read_class_folders(root: Path, *, expected: tuple[str, ...] | None = None) -> FolderDataset:
    """The class folders in `root`, labelled in natural order, or by their place in `expected`.

    Raises ValueError where there are none, where one is empty, and where one is not `expected`.
    """
    folders = sorted(subfolders(root), key=natural_order)
    if not folders:
        raise ValueError(_without_classes(root))
    names = tuple(map(printable, folders))
    if expected is None and len(folders) == 1:
        raise ValueError(
            f"{_shown(root)} holds one folder, {names[0]!r}, so one class; give a folder with a folder for each class"
        )
    classes = names if expected is None else expected
    label_of = {name: label for label, name in enumerate(classes)}
    for name in names:
        if name not in label_of:
            raise ValueError(f"{_shown(root)} holds the class {name!r}, which training lacks{_near(name, classes)}")
    return label_files(
        root,
        {folder: label_of[name] for folder, name in zip(folders, names, strict=True)},
        classes,
        may_be_empty=expected is not None,
    )


def label_files(
    root: Path, label_of_folder: Mapping[str, int], class_names: tuple[str, ...], *, may_be_empty: bool = False
) -> FolderDataset:
    """All images below each of those folders of `root`, in the order of the folders, sorted within each."""
    files: list[str] = []
    labels = []
    for folder, label in label_of_folder.items():
        found = _images_below(f"{root}/{folder}", f"{folder}/")
        if not found and not may_be_empty:
            raise ValueError(f"no image lies in {_shown(root / folder)}; put images there or remove the folder")
        files += found
        labels.append(np.full(len(found), label, np.int64))
    if not files:
        raise ValueError(f"no image lies below {_shown(root)}")
    return FolderDataset(str(root), PackedStrings.of(files), np.concatenate(labels), class_names)


def natural_order(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts digits by their value, so that `class2` comes before `class10`."""
    parts = re.split(r"([0-9]+)", name)
    key = [(0, int(part), "") if position % 2 else (1, 0, part) for position, part in enumerate(parts) if part]
    return key, name


def subfolders(root: Path) -> list[str]:
    """The names of the folders in `root` that are not hidden, in no order."""
    with os.scandir(root) as entries:
        return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]


def _images_below(folder: str, prefix: str) -> list[str]:
    """Their names after `prefix`, sorted. Entries are taken as the folder lists them, without asking for each."""
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [(folder, prefix)]
    while pending:
        path, prefix = pending.pop()
        status = os.stat(path)  # noqa: PTH116 - paths stay strings here
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if is_image_name(name) and (entry.is_file() or (entry.is_symlink() and not entry.is_dir())):
                    found.append(prefix + name)
                elif not name.startswith(".") and entry.is_dir():
                    pending.append((f"{path}/{name}", f"{prefix}{name}/"))
    found.sort()
    return found


def _without_classes(root: Path) -> str:
    with os.scandir(root) as entries:
        loose = any(is_image_name(entry.name) for entry in entries)
    if loose:
        return f"{_shown(root)} holds images but no folders; put the images of each class into a folder of its name"
    return f"{_shown(root)} holds no class folders; expected are train/CLASS/*.jpg and val/CLASS/*.jpg, or CLASS/*.jpg"


def _near(name: str, classes: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, classes, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(path: Path) -> str:
    return printable(str(path))
