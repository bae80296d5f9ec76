"""The rows of a CSV file that lists images, read strictly and one by one."""

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from triscale.data.datasets.folders import TRAIN_FOLDERS, VALIDATION_FOLDERS
from triscale.data.errors import printable

IMAGE_COLUMNS: Final = ("image", "file", "filename", "file_name", "path")
"""What the column with the images may be called, in order of preference; upper case counts as lower case."""
SPLIT_COLUMN: Final = "split"
TRAIN: Final = TRAIN_FOLDERS[0]
DELIMITERS: Final = (",", ";", "\t")
"""Between columns; the first of these in the first line is meant."""
_BITS: Final = {"0": "0", "1": "1", "0.0": "0", "1.0": "1", "false": "0", "true": "1"}


class Labelling(StrEnum):
    """How a file says what is in an image."""

    ONE = "label"
    """A column `label` with one."""
    MANY = "labels"
    """A column `labels` with any number, between separators."""
    COLUMNS = "columns of 0 and 1"
    """A column for each class."""


class Row(NamedTuple):
    """One image."""

    line: int
    file: str
    part: str
    """`train`, or one of `VALIDATION_FOLDERS`."""
    label: str
    """The cell as it is; for `Labelling.COLUMNS` a text of 0 and 1."""


@dataclass(frozen=True, slots=True)
class Header:
    """Which columns of a file hold what."""

    names: tuple[str, ...]
    image: int
    split: int | None
    labelling: Labelling
    labels: tuple[int, ...]
    """The columns that say the labels."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the columns of 0 and 1."""
        return tuple(self.names[column] for column in self.labels)


def read_rows(path: Path) -> tuple[Header, Iterator[Row]]:
    """A file's columns, and its rows as they are read; empty lines are passed over.

    Raises ValueError in one line that names the file, the line and the remedy.
    """
    rows = _records(path)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{printable(str(path))} is empty; its first line must name columns, such as image,label")
    header = _header(path, first[1])
    return header, (_row(path, header, line, cells) for line, cells in rows)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = next((mark for mark in DELIMITERS if mark in first), DELIMITERS[0])
            reader = csv.reader(itertools.chain([first], file), delimiter=delimiter, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except UnicodeDecodeError:
        raise _bad(
            path, 1 if reader is None else reader.line_num + 1, "it is no UTF-8; save the file as UTF-8"
        ) from None
    except csv.Error as error:
        line = 1 if reader is None else reader.line_num
        raise _bad(path, line, f"{error}; put cells with quotes or line breaks between quotes") from None
    except OSError as error:
        raise ValueError(f"{printable(str(path))} cannot be read: {error.strerror}") from None


def _bad(path: Path, line: int, reason: str) -> ValueError:
    return ValueError(f"{printable(str(path))}, line {line}: {reason}")


def _header(path: Path, cells: list[str]) -> Header:
    names = tuple(printable(cell.strip()) for cell in cells)
    lower = [name.casefold() for name in names]
    shown = ", ".join(names)
    image = next((lower.index(name) for name in IMAGE_COLUMNS if name in lower), None)
    if image is None:
        known = ", ".join(IMAGE_COLUMNS)
        raise _bad(path, 1, f"no column holds the images; call it one of {known} (the columns are {shown})")
    split = lower.index(SPLIT_COLUMN) if SPLIT_COLUMN in lower else None
    named = [labelling for labelling in (Labelling.ONE, Labelling.MANY) if labelling in lower]
    if len(named) == 2:
        raise _bad(path, 1, "there is a column label and a column labels; keep one of them")
    if named:
        return Header(names, image, split, named[0], (lower.index(named[0]),))
    # Without a name is the column of row numbers that pandas writes first.
    classes = tuple(column for column, name in enumerate(names) if name and column not in (image, split))
    if not classes:
        raise _bad(
            path, 1, f"no column holds labels; add label, labels, or a column of 0 and 1 for each class ({shown})"
        )
    for column in classes:
        if names.index(names[column]) != column:
            raise _bad(path, 1, f"there are two columns {names[column]!r}; rename one of them")
    return Header(names, image, split, Labelling.COLUMNS, classes)


def _row(path: Path, header: Header, line: int, cells: list[str]) -> Row:
    if len(cells) != len(header.names):
        reason = f"{len(cells)} cells instead of {len(header.names)}; put cells with separators between quotes"
        raise _bad(path, line, reason)
    file = cells[header.image].strip()
    if reason := _fault(file):
        raise _bad(path, line, reason)
    part = TRAIN if header.split is None else _part(path, line, cells[header.split])
    match header.labelling:
        case Labelling.COLUMNS:
            label = "".join(_bit(path, header, line, cells, column) for column in header.labels)
        case Labelling.MANY:
            label = cells[header.labels[0]].strip()
        case Labelling.ONE:
            label = cells[header.labels[0]].strip()
            if not label:
                raise _bad(path, line, "the label is empty; give it or remove the line")
    return Row(line, file, part, label)


def _fault(file: str) -> str:
    """What is wrong with a path, if anything; it counts from the CSV file's folder, and may be absolute."""
    if not file or "\0" in file:
        return "no image is named; give its path or remove the line"
    if "://" in file:
        return f"{printable(file)!r} is an address; download the image and give its path"
    if ".." in file.replace("\\", "/").split("/"):
        return (
            f"{printable(file)!r} leads out of the CSV file's folder; move the image below it, or give its whole path"
        )
    return ""


def _part(path: Path, line: int, cell: str) -> str:
    name = cell.strip().casefold()
    if name in TRAIN_FOLDERS:
        return TRAIN
    if name not in VALIDATION_FOLDERS:
        valid = ", ".join((TRAIN, *VALIDATION_FOLDERS))
        raise _bad(path, line, f"there is no split {printable(cell)!r}; valid: {valid}")
    return name


def _bit(path: Path, header: Header, line: int, cells: list[str], column: int) -> str:
    bit = _BITS.get(cells[column].strip().casefold())
    if bit is None:
        reason = f"{printable(cells[column])!r} under {header.names[column]} is neither 0 nor 1"
        remedy = "keep only columns of 0 and 1 beside image and split, or add a column label or labels"
        raise _bad(path, line, f"{reason}; {remedy}")
    return bit
