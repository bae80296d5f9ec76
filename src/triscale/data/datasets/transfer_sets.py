"""Reading the datasets of Table 6 from where they lie, or downloading them where they still can be."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from triscale.data.dataset import ArrayDataset, ImageDataset, Splits
from triscale.data.datasets.birdsnap import read_birdsnap
from triscale.data.datasets.folders import FolderDataset
from triscale.data.datasets.matlab import check_mat
from triscale.data.datasets.packed import PackedStrings
from triscale.data.datasets.table6 import TABLE_6, TransferSet
from triscale.download import cache_folder

_LOGGER = logging.getLogger(__name__)


def open_transfer_set(name: str, *, root: Path | None) -> Splits:
    """The dataset of that row: its images to train on (with those it sets aside for validation), and its test images.

    It lies below `root`, or is downloaded there where it still can be; without `root`, below `torchvision` in the cache
    folder. `root` may also be the dataset's own folder. Images that are listed but not there are left out; a warning
    is logged when the numbers are not the published ones.
    Raises ValueError in one line that names the file which is missing or damaged, and what to do.
    """
    row = TABLE_6[name]
    place = cache_folder() / "torchvision" if root is None else _above(root, row)
    if row.torchvision is None:
        _check_files(row, place, "")
        parts: Sequence[ImageDataset] = read_birdsnap(place / row.folder)
    else:
        parts = _read_by_torchvision(row, row.torchvision, place)
    train, test = (_part(row, name, place, part, kind) for part, kind in zip(parts, ("train", "test"), strict=True))
    splits = Splits(train, _with_class_names(test, train.class_names))
    _compare_with_published(row, name, place, splits)
    return splits


def _above(root: Path, row: TransferSet) -> Path:
    """The root, where the dataset's own folder was named instead."""
    parts = Path(row.folder).parts
    inside = root.parts[-len(parts) :] == parts and (root / row.files[0]).exists()
    return root.parents[len(parts) - 1] if inside else root


def _read_by_torchvision(row: TransferSet, title: str, place: Path) -> tuple[ImageDataset, ImageDataset]:
    # Its file imports torch, which nothing else here needs.
    from triscale.data.datasets.torchvision import TorchvisionError, published_checksums, read_parts

    for path in (place / row.folder / file for file in row.files if file.endswith(".mat")):
        try:
            # Before torchvision hands it to SciPy, which damage brings down.
            if path.is_file():
                check_mat(path)
        except ValueError as error:
            raise ValueError(f"{error}; delete it, and get {_source(row, place)}") from None
    try:
        parts = read_parts(title, [*row.train, *row.test], folder=place)
    except TorchvisionError as error:
        for relative, md5 in published_checksums(title):
            path = place / relative
            if path.is_file() and (found := _md5(path)) != md5:
                reason = f"{path} is not the published file: its MD5 is {found}, not {md5}"
                raise ValueError(f"{reason}; delete it, and get {_source(row, place)}") from None
        _check_files(row, place, f" ({error.reason})")
        raise ValueError(f"{error}; {_files(row)} is damaged: delete it, and get {_source(row, place)}") from None
    count = len(row.train)
    return _joined(parts[:count]), _joined(parts[count:])


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _check_files(row: TransferSet, place: Path, reason: str) -> None:
    """Raise ValueError for the first of the row's files that is missing or damaged."""
    for name in row.files:
        path = place / row.folder / name
        if not (path.is_dir() if name.endswith("/") else path.is_file()):
            raise ValueError(f"there is no {path}{reason}; get {_source(row, place)}")
        try:
            _parse(path)
        except (ValueError, RecursionError) as error:
            text = str(error) if str(path) in str(error) else f"{path} is damaged: {' '.join(str(error).split())}"
            raise ValueError(f"{text}; delete it, and get {_source(row, place)}") from None


def _parse(path: Path) -> None:
    if path.suffix == ".mat":
        check_mat(path)
    elif path.suffix == ".json":
        json.loads(path.read_text("utf-8"))
    elif path.suffix == ".txt":
        path.read_text("utf-8")


def _files(row: TransferSet) -> str:
    return f"one of {', '.join(file for file in row.files if not file.endswith('/'))}"


def _source(row: TransferSet, place: Path) -> str:
    return row.source.replace("{root}", str(place))


def _joined(parts: Sequence[ImageDataset]) -> ImageDataset:
    if len(parts) == 1:
        return parts[0]
    folders = [part for part in parts if isinstance(part, FolderDataset)]
    assert len(folders) == len(parts)
    assert len({part.root for part in folders}) == 1
    files = PackedStrings.joined(part.files for part in folders)
    return replace(folders[0], files=files, labels=np.concatenate([part.labels for part in folders]))


def _part(row: TransferSet, name: str, place: Path, part: ImageDataset, kind: str) -> FolderDataset | ArrayDataset:
    """The part without files that are not there; raises ValueError where none is left."""
    folder = place / row.folder
    if isinstance(part, ArrayDataset):
        return replace(part, title=f"{name}/{kind}")
    assert isinstance(part, FolderDataset)
    kept = np.array(_files_there(part), np.int64)
    if not len(kept):
        raise ValueError(f"no {kind} image of {row.title} lies in {folder}; get {_source(row, place)}")
    names = list(part.files) if len(kept) < len(part.files) else []
    files = PackedStrings.of(names[index] for index in kept) if names else part.files
    return replace(part, files=files, labels=part.labels[kept])


def _files_there(part: FolderDataset) -> list[int]:
    """The numbers of images whose file is in its folder. Annotations may name files elsewhere: these are not there."""
    there: dict[str, set[str]] = {}
    kept = []
    for index, file in enumerate(part.files):
        folder, _, name = file.rpartition("/")
        if folder not in there:
            outside = folder.startswith("/") or ".." in folder.split("/")
            there[folder] = set() if outside else _names_in(f"{part.root}/{folder}")
        if name in there[folder]:
            kept.append(index)
    return kept


def _names_in(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names alone, a hundred thousand of them
    except OSError:
        return set()


def _with_class_names(test: FolderDataset | ArrayDataset, names: tuple[str, ...]) -> FolderDataset | ArrayDataset:
    """torchvision's Pets takes them from the images of each part, so that a part without a class would shift them."""
    return replace(test, class_names=names)


def _compare_with_published(row: TransferSet, name: str, place: Path, splits: Splits) -> None:
    train, test = (len(part.labels) for part in splits)
    used, classes = np.concatenate([part.labels for part in splits]), len(splits.train.class_names)
    if used.min() < 0 or used.max() >= classes:
        raise ValueError(
            f"{place / row.folder} holds labels {used.min()}..{used.max()} for {classes} classes; "
            f"{_files(row)} is not the published one: get {_source(row, place)}"
        )
    found = (train, test, classes)
    if found != (row.train_images, row.test_images, row.classes):
        _LOGGER.warning(
            "%s in %s has %d images to train on (published: %d), %d for the test (%d), %d classes (%d); "
            "results do not compare with published ones",
            name,
            place / row.folder,
            train,
            row.train_images,
            test,
            row.test_images,
            classes,
            row.classes,
        )
