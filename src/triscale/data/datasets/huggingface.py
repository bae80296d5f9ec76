"""Datasets that Hugging Face's `datasets` library saved to disk."""

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from triscale.data.dataset import Labels, Splits
from triscale.data.datasets.folders import TRAIN_FOLDERS, VALIDATION_FOLDERS, natural_order
from triscale.data.datasets.packed import PackedStrings
from triscale.data.datasets.part import read_part
from triscale.data.datasets.split import split_by_seed
from triscale.data.errors import ImageError, printable
from triscale.data.read import ImageBytes

DICTIONARY: Final = "dataset_dict.json"
"""In the folder of a DatasetDict; each split is a folder beside it."""
STATE: Final = "state.json"
"""In the folder of a Dataset."""
IMAGE_COLUMNS: Final = ("image", "img")
LABEL_COLUMNS: Final = ("label", "labels", "fine_label")
"""Which is meant where there are several, in order of preference."""
_LARGEST_JSON: Final = 1 << 26
_ANEW: Final = "save it anew with save_to_disk"


@dataclass(frozen=True, slots=True, eq=False)
class SavedDataset:
    """Images inside Arrow files, each read by its place; nothing stays open or in memory."""

    folder: str
    title: str
    paths: tuple[str, ...]
    """The Arrow files."""
    tables: npt.NDArray[np.int32]
    """(N,): the file of each image."""
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    """-1 where the row holds no bytes."""
    files: PackedStrings
    """What the row says of a file; read where there are no bytes."""
    labels: Labels
    class_names: tuple[str, ...]

    def image(self, index: int) -> ImageBytes | Path:
        """The bytes of one row, or the file it names."""
        size = int(self.sizes[index])
        if size < 0:
            return self._file(index)
        path, offset = self.paths[self.tables[index]], int(self.offsets[index])
        return read_part(path, offset=offset, size=size, name=self.name(index), kind="Arrow file")

    def _file(self, index: int) -> Path:
        file = self.files[index]
        if not file:
            raise ImageError(self.name(index), "the row holds no image")
        if "://" in file or "\0" in file or ".." in Path(file).parts:
            raise ImageError(self.name(index), f"it names {file!r}, which is not below the dataset's folder")
        return Path(self.folder) / file

    def name(self, index: int) -> str:
        """The folder and the row."""
        return f"{self.title}/{range(len(self.sizes))[index]}"


def is_saved(folder: Path) -> bool:
    """Whether `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote the folder."""
    return (folder / DICTIONARY).is_file() or ((folder / STATE).is_file() and (folder / "dataset_info.json").is_file())


def open_saved(root: Path, *, seed: int, validation_fraction: float) -> Splits:
    """The splits `train` and `validation` (or what else `VALIDATION_FOLDERS` lists) of a DatasetDict, or a Dataset.

    Images are the column of the type Image, still encoded. Labels are a column of the type ClassLabel, or of text or
    whole numbers, whose values are classes in natural order; a list of either is any number of labels. Without a
    second split `validation_fraction` of each class is held out, drawn by `seed`. No code of the dataset is run, and
    nothing is downloaded. Raises ValueError for a missing library, and for a folder that is damaged or has no such
    columns.
    """
    if importlib.util.find_spec("datasets") is None:
        raise ValueError(f"{_shown(root)} was saved by the library datasets: pip install 'triscale[datasets]'")
    parts = [_read(folder) for folder in _parts(root)]
    class_names, labels = _numbered([part.said for part in parts])
    datasets = [
        SavedDataset(str(part.folder), _shown(part.folder), *part.images, labels=found, class_names=class_names)
        for part, found in zip(parts, labels, strict=True)
    ]
    if len(datasets) == 2:
        return Splits(*datasets)
    return split_by_seed(datasets[0], seed=seed, fraction=validation_fraction)


def _parts(root: Path) -> list[Path]:
    """The folders to train on and to validate on."""
    if not (root / DICTIONARY).is_file():
        return [root]
    names = _json(root / DICTIONARY).get("splits")
    if not isinstance(names, list) or not names or not all(_is_plain(name) for name in names):
        raise ValueError(f"{_shown(root / DICTIONARY)} lists no splits; {_ANEW}")
    by_name = {name.casefold(): root / name for name in reversed(names)}
    train = next((by_name[name] for name in TRAIN_FOLDERS if name in by_name), None)
    if train is None and len(names) == 1:
        return [root / names[0]]
    if train is None:
        raise ValueError(f"{_shown(root)} has the splits {printable(', '.join(names))}, none of them train; rename one")
    return [train, *[by_name[name] for name in VALIDATION_FOLDERS if name in by_name][:1]]


def _is_plain(name: object) -> bool:
    """Whether it names something in the folder itself."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError("it is too large")
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{_shown(path)} cannot be read: {_line(error)}; {_ANEW}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{_shown(path)} is no JSON object; {_ANEW}")
    return found


class _Images(NamedTuple):
    paths: tuple[str, ...]
    tables: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    files: PackedStrings


class _Said(NamedTuple):
    """What a column says of each image: numbers where it has `names`, else words."""

    title: str
    many: bool
    names: tuple[str, ...] | None
    values: Sequence[Any]


class _PartRead(NamedTuple):
    folder: Path
    images: _Images
    said: _Said


def _read(folder: Path) -> _PartRead:
    import datasets  # type: ignore[import-untyped]

    files = _json(folder / STATE).get("_data_files")
    if not isinstance(files, list) or not all(
        isinstance(file, dict) and _is_plain(file.get("filename")) for file in files
    ):
        raise ValueError(f"{_shown(folder / STATE)} names no files of this folder; {_ANEW}")
    empty = f"{_shown(folder)} holds no image; save images or leave the split out"
    if not files:
        raise ValueError(empty)
    try:
        loaded = datasets.Dataset.load_from_disk(folder.absolute().as_posix(), keep_in_memory=False)
        features = loaded.features
    except Exception as error:  # a damaged file fails in whatever way it is damaged
        raise ValueError(f"{_shown(folder)} is damaged or was not saved whole: {_line(error)}; {_ANEW}") from None
    if not len(loaded):
        raise ValueError(empty)
    image = _image_column(folder, features)
    label, many, names = _label_column(folder, features)
    column = loaded.data.column(label)
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise ValueError(f"{_shown(folder)}, row {row}: {label} is empty; label the row or filter it out")
    values = column.to_pylist() if many or names is None else column.to_numpy()
    found = _locate([str(folder / file["filename"]) for file in files], image)
    assert len(found.sizes) == len(values)
    return _PartRead(folder, found, _Said(_shown(folder), many, names, values))


def _image_column(folder: Path, features: Mapping[str, Any]) -> str:
    import datasets

    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    preferred = [name for name in IMAGE_COLUMNS if name in images]
    if len(images) == 1 or preferred:
        return (preferred or images)[0]
    reason = (
        f"several columns of images, {', '.join(images)}" if images else f"no column of images: {', '.join(features)}"
    )
    remedy = "rename one to image" if images else "cast one by cast_column(NAME, datasets.Image())"
    raise ValueError(f"{_shown(folder)} has {printable(reason)}; {remedy}, and save it anew")


def _label_column(folder: Path, features: Mapping[str, Any]) -> tuple[str, bool, tuple[str, ...] | None]:
    """Its name, whether it holds lists, and the names of its classes where it knows them."""
    import datasets

    usable: dict[str, tuple[bool, tuple[str, ...] | None]] = {}
    for name, feature in features.items():
        many = isinstance(feature, datasets.List | datasets.LargeList)
        one = feature.feature if many else feature
        if isinstance(one, datasets.ClassLabel):
            usable[name] = many, tuple(map(printable, one.names))
        elif isinstance(one, datasets.Value) and one.dtype.removeprefix("u").startswith(
            ("int", "string", "large_string")
        ):
            usable[name] = many, None
    typed = [name for name, (_, names) in usable.items() if names is not None]
    chosen = next((name for name in LABEL_COLUMNS if name in usable), typed[0] if len(typed) == 1 else None)
    if chosen is None:
        shown = printable(", ".join(typed or features))
        raise ValueError(f"{_shown(folder)} has no column label or labels, but {shown}; rename one, and save it anew")
    return chosen, *usable[chosen]


def _locate(paths: Sequence[str], column: str) -> _Images:
    """Where in its Arrow file each image's bytes lie."""
    tables: list[npt.NDArray[np.int32]] = []
    offsets, sizes = [], []
    files: list[str] = []
    for number, path in enumerate(paths):
        for starts, lengths, named in _places(path, column):
            tables.append(np.full(len(starts), number, np.int32))
            offsets.append(starts)
            sizes.append(lengths)
            files += named
    joined = np.concatenate(tables), np.concatenate(offsets), np.concatenate(sizes)
    return _Images(tuple(paths), *joined, PackedStrings.of(files))


def _places(path: str, column: str) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[str]]]:
    """Offset, length and file name of each image, batch by batch; a length of -1 without bytes."""
    import pyarrow  # type: ignore[import-untyped]

    with pyarrow.memory_map(path) as mapping, pyarrow.ipc.open_stream(whole := mapping.read_buffer()) as stream:
        for batch in stream:
            data, file = batch.column(column).flatten()  # with the rows that are null as a whole
            assert pyarrow.types.is_binary(data.type)  # as the library demands of an Image
            _, ends, contents = data.buffers()
            bounds = np.frombuffer(ends, np.int32)[data.offset : data.offset + len(data) + 1]
            start = contents.address - whole.address if contents is not None and contents.size else 0
            starts, lengths = bounds[:-1].astype(np.int64) + start, np.diff(bounds).astype(np.int64)
            lengths[data.is_null().to_numpy(zero_copy_only=False)] = -1
            if start < 0 or (lengths < -1).any() or (starts + lengths > whole.size).any() or (starts < 0).any():
                raise ValueError(f"{printable(path)} is compressed or damaged; {_ANEW}")
            names = ["" if name is None else str(name) for name in file.to_pylist()]
            yield starts, lengths, names


def _numbered(parts: Sequence[_Said]) -> tuple[tuple[str, ...], list[Labels]]:
    """The classes, and each part's labels."""
    first = parts[0]
    for part in parts[1:]:
        if (part.many, part.names) != (first.many, first.names):
            raise ValueError(f"{part.title} has labels of another type than {first.title}; save both with one type")
    classes = first.names
    if classes is None:
        words = {str(value) for said in first.values for value in (said if first.many else (said,))}
        classes = tuple(sorted(words, key=natural_order))
    if not classes or (len(classes) == 1 and not first.many):
        raise ValueError(
            f"{first.title} has {len(classes)} class of labels; {'one' if first.many else 'two'} is needed"
        )
    return tuple(map(printable, classes)), [_labels(part, classes) for part in parts]


def _labels(said: _Said, classes: tuple[str, ...]) -> Labels:
    label_of: dict[Any, int] = {name: label for label, name in enumerate(classes)}
    if said.names is not None:
        label_of = {label: label for label in range(len(classes))}

    def number(row: int, value: Any) -> int:
        label = label_of.get(value if said.names is not None else str(value))
        if label is None:
            hidden = said.names is not None and value == -1
            reason = "it has no label (-1)" if hidden else f"the label {printable(str(value))!r} is none of the classes"
            raise ValueError(f"{said.title}, row {row}: {reason}; filter such rows out, or leave the split out")
        return label

    if not said.many:
        return np.array([number(row, value) for row, value in enumerate(said.values)], np.int64)
    matrix = np.zeros((len(said.values), len(classes)), np.uint8)
    for row, values in enumerate(said.values):
        matrix[row, [number(row, value) for value in values]] = 1
    return matrix


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split())) or type(error).__name__


def _shown(path: Path) -> str:
    return printable(str(path))
