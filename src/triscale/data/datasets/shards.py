"""WebDataset shards: tar archives of labelled images, on disk or on the web."""

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import numpy.typing as npt

from triscale.data.dataset import Labels, Splits
from triscale.data.datasets.braces import expand_braces
from triscale.data.datasets.folders import TRAIN_FOLDERS, VALIDATION_FOLDERS, natural_order, subfolders
from triscale.data.datasets.packed import PackedStrings
from triscale.data.datasets.part import read_part
from triscale.data.datasets.split import split_by_seed
from triscale.data.datasets.tar_index import TarIndex, read_tar_index
from triscale.data.errors import printable
from triscale.data.read import ImageBytes
from triscale.download import NotThereError, cache_folder, cached_path, download

SEPARATOR: Final = "::"
"""Between patterns, as in `train-{0..9}.tar::val-0.tar`."""
CLASS_FILES: Final = ("classes.txt", "classes.json")
"""Beside the shards: class names by label, one a line, or as a JSON list."""
MOST_CLASSES: Final = 1_000_000
LARGEST_SHARD: Final = 1 << 38
"""Bytes of a shard on the web."""
_LARGEST_CLASSES: Final = 1 << 26

_WEB: Final = re.compile(r"https?://", re.IGNORECASE)
_VALIDATION: Final = re.compile(rf"({'|'.join(VALIDATION_FOLDERS)})(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class ShardDataset:
    """Images inside tar archives, each read by its place: any order costs the same."""

    paths: tuple[str, ...]
    titles: tuple[str, ...]
    """What each archive is called: its path, or the address it came from."""
    shards: npt.NDArray[np.int32]
    """(N,): the archive of each image."""
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    members: PackedStrings
    labels: Labels
    class_names: tuple[str, ...]

    def image(self, index: int) -> ImageBytes:
        """The bytes of one member."""
        size = int(self.sizes[index])
        path, offset = self.paths[self.shards[index]], int(self.offsets[index])
        return read_part(path, offset=offset, size=size, name=self.name(index), kind="archive")

    def name(self, index: int) -> str:
        """The archive, and the member in it."""
        return f"{self.titles[self.shards[index]]}/{self.members[index]}"


def names_shards(name: str) -> bool:
    """Whether a dataset's name stands for tar shards rather than for a folder."""
    return bool(_WEB.match(name)) or SEPARATOR in name or (name.endswith(".tar") and not Path(name).is_dir())


def shards_in(folder: Path) -> list[str]:
    """The tar files of a folder in natural order: those in it, else those in its `train/` and `val/`."""
    parts = [name for name in subfolders(folder) if name.casefold() in (*TRAIN_FOLDERS, *VALIDATION_FOLDERS)]
    return _tars(folder) or [path for part in sorted(parts) for path in _tars(folder / part)]


def _tars(folder: Path) -> list[str]:
    names = [path.name for path in folder.glob("*.tar") if not path.name.startswith(".")]
    return [f"{folder}/{name}" for name in sorted(names, key=natural_order)]


def open_shards(name: str, *, root: Path | None, seed: int, validation_fraction: float) -> Splits:
    """Shards by patterns such as `train-{000..127}.tar`, several joined by `::`, paths or http(s) addresses.

    Shards whose name starts with `val` (or what else `VALIDATION_FOLDERS` lists), or that lie in a folder of such
    a name, are for validation; without them `validation_fraction` of each class is, drawn by `seed`. Shards from
    the web are downloaded first, into `root` or the cache folder. Labels that are numbers are kept; names are
    numbered as `classes.txt` lists them, or in natural order.
    Raises ValueError for shards that are missing or damaged, and for labels without a class.
    """
    addresses = [address for pattern in name.split(SEPARATOR) for address in expand_braces(pattern)]
    return open_shard_files(addresses, root=root, seed=seed, validation_fraction=validation_fraction)


def open_shard_files(
    addresses: Sequence[str], *, root: Path | None = None, seed: int, validation_fraction: float
) -> Splits:
    """As `open_shards`, from paths and addresses without patterns."""
    class_names = _read_class_names(addresses, root)
    train, validation = _parts(addresses)
    training = [_Shard.opened(address, root) for address in train]
    held_out = [_Shard.opened(address, root) for address in validation]
    classes = class_names or _classes(training, held_out)
    dataset = _dataset(training, classes)
    if not held_out:
        return split_by_seed(dataset, seed=seed, fraction=validation_fraction)
    return Splits(dataset, _dataset(held_out, classes))


@dataclass(frozen=True, slots=True, eq=False)
class _Shard:
    address: str
    path: Path
    index: TarIndex

    @staticmethod
    def opened(address: str, root: Path | None) -> "_Shard":
        path = download(address, cache_dir=root, largest=LARGEST_SHARD) if _WEB.match(address) else Path(address)
        if not path.is_file():
            raise ValueError(f"there is no shard '{printable(address)}'")
        return _Shard(address, path, read_tar_index(path, printable(address), cache=cache_folder() / "shards"))


def _parts(addresses: Sequence[str]) -> tuple[list[str], list[str]]:
    """Training and validation shards; all are for training where not both are there."""
    kinds = [_kind(address) for address in addresses]
    held_out = next((kind for kind in VALIDATION_FOLDERS if kind in kinds), None)
    if held_out is None or None not in kinds:
        return list(addresses), []
    pairs = list(zip(addresses, kinds, strict=True))
    return [address for address, kind in pairs if kind is None], [a for a, kind in pairs if kind == held_out]


def _kind(address: str) -> str | None:
    """Which of `VALIDATION_FOLDERS` a shard belongs to by its name, else by its folder's; None for training."""
    parts = PurePosixPath(urlsplit(address).path if _WEB.match(address) else address).parts
    if match := _VALIDATION.match(parts[-1]):
        return match[1].lower()
    folder = parts[-2].casefold() if len(parts) > 1 else ""
    named_train = parts[-1].casefold().startswith(TRAIN_FOLDERS)
    return folder if folder in VALIDATION_FOLDERS and not named_train else None


def _read_class_names(addresses: Sequence[str], root: Path | None) -> tuple[str, ...]:
    """From one of `CLASS_FILES` beside the first shard; empty where there is none."""
    for name in CLASS_FILES:
        path = _beside(addresses, name, root)
        if path is not None:
            return _parse_class_names(path)
    return ()


def _beside(addresses: Sequence[str], name: str, root: Path | None) -> Path | None:
    if not _WEB.match(addresses[0]):
        path = Path(addresses[0]).parent / name
        return path if path.is_file() else None
    parts = urlsplit(addresses[0])
    address = urlunsplit((parts.scheme, parts.netloc, parts.path.rpartition("/")[0] + "/" + name, "", ""))
    kept = cached_path(address, cache_dir=root)
    # Without a download to come, a run needs no network: a file that was there then is here now.
    if kept.is_file() or all(cached_path(shard, cache_dir=root).is_file() for shard in addresses if _WEB.match(shard)):
        return kept if kept.is_file() else None
    try:
        return download(address, cache_dir=root, largest=_LARGEST_CLASSES)
    except NotThereError:
        return None


def _parse_class_names(path: Path) -> tuple[str, ...]:
    if path.stat().st_size > _LARGEST_CLASSES:
        raise ValueError(f"{path} is too large for a list of class names")
    try:
        text = path.read_text(encoding="utf-8")
        names = json.loads(text) if path.name.endswith(".json") else text.splitlines()
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is no list of class names in UTF-8") from None
    if isinstance(names, dict):
        names = names.get("classes", names.get("class_names"))
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"{path} must list class names, none of them empty")
    stripped = tuple(printable(name.strip()) for name in names)
    if len(set(stripped)) < len(stripped):
        twice = next(name for name in stripped if stripped.count(name) > 1)
        raise ValueError(f"{path} lists the class {twice!r} twice")
    return stripped


def _classes(training: Sequence[_Shard], held_out: Sequence[_Shard]) -> tuple[str, ...]:
    """Without a list of them: numbers up to the largest label, or the names that occur in training."""
    found = {label for shard in training for label in shard.index.labels}
    everything = found.union(label for shard in held_out for label in shard.index.labels)
    if not all(_is_number(label) for label in everything):
        return tuple(sorted(found, key=natural_order))
    count = max(map(int, everything)) + 1
    if count > MOST_CLASSES:
        raise ValueError(f"the shards hold the label {count - 1}, over the limit of {MOST_CLASSES} classes")
    return tuple(map(str, range(count)))


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdigit() and len(label) < 10


def _dataset(shards: Sequence[_Shard], classes: tuple[str, ...]) -> ShardDataset:
    label_of = {name: label for label, name in enumerate(classes)}

    def number(label: str, shard: _Shard) -> int:
        if label in label_of:
            return label_of[label]
        if _is_number(label) and int(label) < len(classes):
            return int(label)
        near = difflib.get_close_matches(label, classes, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {len(classes)} classes"
        raise ValueError(f"{printable(shard.address)} holds the label {label!r}, which is no class; {hint}")

    labels = [number(label, shard) for shard in shards for label in shard.index.labels]
    return ShardDataset(
        paths=tuple(str(shard.path) for shard in shards),
        titles=tuple(printable(shard.address) for shard in shards),
        shards=np.repeat(np.arange(len(shards), dtype=np.int32), [len(shard.index.sizes) for shard in shards]),
        offsets=np.concatenate([shard.index.offsets for shard in shards]),
        sizes=np.concatenate([shard.index.sizes for shard in shards]),
        members=PackedStrings.joined(shard.index.members for shard in shards),
        labels=np.array(labels, np.int64),
        class_names=classes,
    )
