"""Birdsnap: 49,829 photographs of 500 North American birds (Berg et al., CVPR 2014), release 1.1."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from triscale.data.datasets.folders import FolderDataset
from triscale.data.datasets.packed import PackedStrings

IMAGE_FOLDERS: Final = ("download/images", "images")
"""Where its script get_birdsnap.py puts the images unless told otherwise, and where they are put by hand."""


def read_birdsnap(folder: Path) -> tuple[FolderDataset, FolderDataset]:
    """The images to train on and the test images, in the order of images.txt, whether their files are there or not.

    `images.txt` and `species.txt` are tab-separated with a line of names first: path and species_id, id and common. A
    test image's path is in `test_images.txt`; the release's readme.txt describes all three. Labels follow the ids.
    Raises ValueError that names the file and the line for anything else.
    """
    names = {row["id"]: row["common"] for _, row in _rows(folder / "species.txt", ("id", "common"))}
    if not names:
        raise ValueError(f"{folder / 'species.txt'} names no species; unpack birdsnap.tgz anew")
    order = sorted(names, key=int)
    label_of = {identifier: label for label, identifier in enumerate(order)}
    test = {row["path"] for _, row in _rows(folder / "test_images.txt", ("path",))}
    listed: tuple[list[str], list[str]] = ([], [])
    labels: tuple[list[int], list[int]] = ([], [])
    for line, row in _rows(folder / "images.txt", ("path", "species_id")):
        if row["species_id"] not in label_of:
            raise ValueError(
                f"{folder / 'images.txt'}, line {line}: there is no species {row['species_id']!r} in species.txt; "
                "unpack birdsnap.tgz anew"
            )
        part = row["path"] in test
        listed[part].append(row["path"])
        labels[part].append(label_of[row["species_id"]])
    for path in test.difference(*listed):
        raise ValueError(
            f"{folder / 'test_images.txt'} names {path!r}, which images.txt lacks; unpack birdsnap.tgz anew"
        )
    root = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), folder / IMAGE_FOLDERS[0])
    class_names = tuple(names[identifier] for identifier in order)
    train, held_out = (
        FolderDataset(str(root), PackedStrings.of(paths), np.array(numbers, np.int64), class_names)
        for paths, numbers in zip(listed, labels, strict=True)
    )
    return train, held_out


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a tab-separated file by column; ids are numbers."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path} has no column {missing[0]!r}; unpack birdsnap.tgz anew")
            for row in reader:
                values = {name: row[name] for name in columns}
                identifiers = [value for name, value in values.items() if name.endswith("id")]
                if (
                    None in row.values()
                    or not all(values.values())
                    or not all(value.isascii() and value.isdigit() for value in identifiers)
                ):
                    raise ValueError(f"{path}, line {reader.line_num} is cut off or no row; unpack birdsnap.tgz anew")
                yield reader.line_num, values
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read: {error}; unpack birdsnap.tgz anew") from None
