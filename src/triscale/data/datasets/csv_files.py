"""Images listed in CSV files, with one label each or any number of them."""

import difflib
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from triscale.data.dataset import Labels, Splits
from triscale.data.datasets.csv_rows import TRAIN, Header, Labelling, read_rows
from triscale.data.datasets.folders import TRAIN_FOLDERS, VALIDATION_FOLDERS, FolderDataset, natural_order
from triscale.data.datasets.packed import PackedStrings
from triscale.data.datasets.split import split_by_seed
from triscale.data.errors import printable

SUFFIXES: Final = (".csv", ".tsv")
SEPARATORS: Final = (";", "|", ",", " ")
"""Between labels; the first of these in any cell is meant."""
LARGEST_LABELS: Final = 1 << 32
"""Bytes of labels, one for each image and class."""
_PROBES: Final = 100
"""Files looked for before anything is read: a wrong folder is worth knowing at once."""


def is_csv(name: str) -> bool:
    """Whether a file is one, by its suffix."""
    return name.casefold().endswith(SUFFIXES)


def csv_parts(folder: Path) -> list[Path]:
    """`train.csv` of a folder with `val.csv` (or what else `VALIDATION_FOLDERS` lists); empty without the former."""
    with os.scandir(folder) as entries:
        there = {entry.name.casefold(): folder / entry.name for entry in entries if is_csv(entry.name)}
    found = []
    for names in (TRAIN_FOLDERS, VALIDATION_FOLDERS):
        files = (there.get(name + suffix) for name in names for suffix in SUFFIXES)
        found.append(next((path for path in files if path is not None), None))
    train, validation = found
    return [] if train is None else [path for path in (train, validation) if path is not None]


def open_csv(paths: Sequence[Path], *, seed: int, validation_fraction: float) -> Splits:
    """The images of one file, or of a file for training and one for validation.

    The first line names the columns: `IMAGE_COLUMNS` for the images, paths below the file's folder or absolute;
    `label` with one label, or `labels` with any number between `SEPARATORS`, or a column of 0 and 1 for each class;
    `split` may say where an image belongs. Classes are the labels that training holds, in natural order, or the columns
    in theirs. Without a split `validation_fraction` of each class is held out, drawn by `seed`.
    Raises ValueError in one line that names the file, the line and the remedy. No image is opened.
    """
    header, parts, cells = _read(paths)
    if TRAIN not in parts:
        remedy = "add lines" if header.split is None else "add lines with train under split"
        raise ValueError(f"{_shown(paths[0])} lists no image to train on; {remedy}")
    held_out = next((parts[name] for name in VALIDATION_FOLDERS if name in parts), None)
    if held_out is None and len(paths) == 2:
        raise ValueError(f"{_shown(paths[1])} lists no image; add lines or remove the file")
    used = [parts[TRAIN]] if held_out is None else [parts[TRAIN], held_out]
    for part in used:
        part.check_files()
    datasets = _label(used, cells, header, paths[0])
    if len(datasets) == 2:
        return Splits(*datasets)
    return split_by_seed(datasets[0], seed=seed, fraction=validation_fraction)


def _read(paths: Sequence[Path]) -> "tuple[Header, dict[str, _Part], _Cells]":
    """The columns of the first file, and all images by part."""
    parts: dict[str, _Part] = {}
    cells = _Cells()
    first, rows = read_rows(paths[0])
    for line, file, name, label in rows:
        parts.setdefault(name, _Part(paths[0])).add(file, cells.number(label, paths[0], line))
    if len(paths) == 1:
        return first, parts, cells
    extra = next((name for name in parts if name != TRAIN), None)
    if extra is not None:
        raise ValueError(
            f"{_shown(paths[0])} has images under split {extra!r}, and {paths[1].name} lies beside it; keep one"
        )
    header, rows = read_rows(paths[1])
    order = _order(paths, first, header)
    held_out = _Part(paths[1])
    for line, file, name, label in rows:
        if name == TRAIN and header.split is not None:
            raise ValueError(
                f"{_shown(paths[1])}, line {line}: its split is {name!r}; correct it, or remove the column"
            )
        cell = "".join(label[place] for place in order) if order else label
        held_out.add(file, cells.number(cell, paths[1], line))
    return first, parts | ({VALIDATION_FOLDERS[0]: held_out} if held_out.cells else {}), cells


def _order(paths: Sequence[Path], first: Header, second: Header) -> list[int]:
    """Where the columns of 0 and 1 of the first file stand in the second; raises ValueError for others."""
    columns = first.labelling is Labelling.COLUMNS
    if first.labelling is not second.labelling or (columns and sorted(first.classes) != sorted(second.classes)):
        raise ValueError(
            f"{_shown(paths[1])} gives labels by {', '.join(second.classes)}, but {paths[0].name} by "
            f"{', '.join(first.classes)}; both need the same columns"
        )
    return [second.classes.index(name) for name in first.classes] if columns else []


class _Cells:
    """Texts that say the labels, each once, with the line that said it first."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.places: list[tuple[Path, int]] = []

    def number(self, cell: str, path: Path, line: int) -> int:
        """The number of a text, a new one where it is new."""
        number = self.numbers.setdefault(cell, len(self.places))
        if number == len(self.places):
            self.places.append((path, line))
        return number


@dataclass(slots=True)
class _Part:
    """Images of one part as they are read: paths in a row, and the number of what is said of each."""

    path: Path
    """The file that lists them."""
    text: bytearray = field(default_factory=bytearray)
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    cells: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, file: str, cell: int) -> None:
        self.text += file.encode()
        self.ends.append(len(self.text))
        self.cells.append(cell)

    def files(self) -> PackedStrings:
        return PackedStrings(bytes(self.text), np.array(self.ends, np.int64))

    def check_files(self) -> None:
        """Raise ValueError unless one of some files is there."""
        files, folder = self.files(), self.path.parent
        probes = range(0, len(files), max(1, len(files) // _PROBES))
        if not any((folder / files[index]).is_file() for index in probes):
            missing = printable(str(folder / files[0]))
            raise ValueError(
                f"{_shown(self.path)} lists {missing}, which is not there, nor are others; "
                f"paths count from {_shown(folder)} and need their suffix"
            )


def _label(parts: Sequence[_Part], cells: _Cells, header: Header, path: Path) -> list[FolderDataset]:
    used = [np.unique(np.array(part.cells, np.int64), return_inverse=True) for part in parts]
    texts = list(cells.numbers)
    words = _words(texts, header)
    classes = header.classes
    if header.labelling is not Labelling.COLUMNS:
        classes = tuple(sorted({word for cell in used[0][0] for word in words[cell]}, key=natural_order))
        if len(classes) < 2 and header.labelling is Labelling.ONE:
            raise ValueError(f"{_shown(path)} labels every image to train on {classes[0]!r}; two classes are needed")
        if not classes:
            raise ValueError(f"{_shown(path)} gives no image to train on a label under labels")
    if header.labelling is not Labelling.ONE and sum(len(part.cells) for part in parts) * len(classes) > LARGEST_LABELS:
        raise ValueError(f"{_shown(path)} holds {len(classes)} classes, too many for so many images; are they labels?")
    label_of = {name: label for label, name in enumerate(classes)}
    names = tuple(map(printable, classes))

    def numbers(cell: int) -> list[int]:
        for word in words[cell]:
            if word not in label_of:
                place, line = cells.places[cell]
                near = difflib.get_close_matches(word, classes, n=1)
                hint = (
                    f"did you mean {near[0]!r}?" if near else "label an image to train on with it, or remove the line"
                )
                raise ValueError(f"{_shown(place)}, line {line}: training lacks the class {printable(word)!r}; {hint}")
        return [label_of[word] for word in words[cell]]

    datasets = []
    for part, (numbers_used, inverse) in zip(parts, used, strict=True):
        known = [numbers(cell) for cell in numbers_used.tolist()]
        labels = _matrix(known, len(classes)) if header.labelling is not Labelling.ONE else _vector(known)
        datasets.append(FolderDataset(str(part.path.parent), part.files(), labels[inverse], names))
    return datasets


def _words(texts: Sequence[str], header: Header) -> list[list[str]]:
    """The names of classes in each text."""
    match header.labelling:
        case Labelling.ONE:
            return [[text] for text in texts]
        case Labelling.COLUMNS:
            pairs = [tuple(zip(header.classes, text, strict=True)) for text in texts]
            return [[name for name, bit in pair if bit == "1"] for pair in pairs]
        case Labelling.MANY:
            separator = next((mark for mark in SEPARATORS if any(mark in text for text in texts)), SEPARATORS[0])
            return [[word.strip() for word in text.split(separator) if word.strip()] for text in texts]


def _vector(known: Sequence[Sequence[int]]) -> Labels:
    return np.array([label for (label,) in known], np.int64)


def _matrix(known: Sequence[Sequence[int]], classes: int) -> npt.NDArray[np.uint8]:
    matrix = np.zeros((len(known), classes), np.uint8)
    for row, labels in zip(matrix, known, strict=True):
        row[list(labels)] = 1
    return matrix


def _shown(path: Path) -> str:
    return printable(str(path))
