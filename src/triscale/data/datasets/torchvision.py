"""torchvision's image classification datasets, by the names of their classes."""

import difflib
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from filelock import FileLock

from triscale.data.dataset import ArrayDataset, ImageDataset, Labels, Splits
from triscale.data.datasets.folders import FolderDataset
from triscale.data.datasets.packed import PackedStrings
from triscale.data.datasets.split import split_by_seed
from triscale.download import cache_folder

PREFIX: Final = "torchvision:"

_BY_TRAIN: Final = ({"train": True}, {"train": False})
_BY_SPLIT: Final = ({"split": "train"}, {"split": "test"})
_BY_TRAINVAL: Final = ({"split": "trainval"}, {"split": "test"})
_BY_VAL: Final = ({"split": "train"}, {"split": "val"})
_UNSPLIT: Final[tuple[dict[str, object]]] = ({},)

PARTS: Final[Mapping[str, Sequence[Mapping[str, object]]]] = {
    "CIFAR10": _BY_TRAIN,
    "CIFAR100": _BY_TRAIN,
    "Country211": _BY_SPLIT,
    "DTD": _BY_SPLIT,
    "EMNIST": ({"split": "balanced", "train": True}, {"split": "balanced", "train": False}),
    "EuroSAT": _UNSPLIT,
    "FGVCAircraft": _BY_TRAINVAL,
    "FashionMNIST": _BY_TRAIN,
    "Flowers102": _BY_SPLIT,
    "Food101": _BY_SPLIT,
    "GTSRB": _BY_SPLIT,
    "Imagenette": _BY_VAL,
    "KMNIST": _BY_TRAIN,
    "MNIST": _BY_TRAIN,
    "OxfordIIITPet": _BY_TRAINVAL,
    "RenderedSST2": _BY_SPLIT,
    "SEMEION": _UNSPLIT,
    "STL10": _BY_SPLIT,
    "SUN397": _UNSPLIT,
    "SVHN": _BY_SPLIT,
    "StanfordCars": _BY_SPLIT,
    "USPS": _BY_TRAIN,
}
"""How each class is asked for its training and its validation part."""

_GONE: Final = frozenset({"StanfordCars"})
"""No longer to be had from its publishers; asking for the download is an error even where the files are."""


def open_torchvision(name: str, *, root: Path | None, seed: int, validation_fraction: float) -> Splits:
    """The dataset of the class `name`, which torchvision downloads into `root` unless it is there.

    Without `root`, into `torchvision` in the cache folder. What is not split is split by `seed`.
    Raises ValueError for an unknown name, for a missing torchvision, and for whatever torchvision complains of.
    """
    known = {entry.casefold(): entry for entry in PARTS}
    if name.casefold() not in known:
        near = difflib.get_close_matches(name.casefold(), known, n=1)
        valid = f"did you mean {PREFIX}{known[near[0]]}?" if near else f"valid: {', '.join(PARTS)}"
        raise ValueError(f"torchvision has no classification dataset {name!r} that is read here; {valid}")
    title = known[name.casefold()]
    parts = read_parts(title, PARTS[title], folder=torchvision_folder() if root is None else root)
    return Splits(*parts) if len(parts) == 2 else split_by_seed(parts[0], seed=seed, fraction=validation_fraction)


class TorchvisionError(ValueError):
    """What torchvision complains of; `reason` is its own words in one line."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def torchvision_folder() -> Path:
    """Where torchvision downloads to unless told otherwise."""
    return cache_folder() / "torchvision"


def read_parts(title: str, parts: Sequence[Mapping[str, object]], *, folder: Path) -> list[ImageDataset]:
    """What the class `title` gives for each of those settings, downloaded into `folder` unless it is there.

    Raises ValueError for a missing torchvision, `TorchvisionError` for whatever it complains of.
    """
    kind = getattr(_import_datasets(), title)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # torchvision tells on standard output, where results are wanted, how downloads go.
        with _alone_in(folder), redirect_stdout(sys.stderr):
            loaded = [kind(root=str(folder), download=title not in _GONE, **settings) for settings in parts]
        return [_convert(dataset, f"{PREFIX}{title}") for dataset in loaded]
    except Exception as error:  # a damaged file fails in whatever way it is damaged
        words = " ".join(str(error).split()) or type(error).__name__
        reason = f"{type(error).__name__} {words}" if isinstance(error, LookupError | TypeError) else words
        raise TorchvisionError(f"torchvision cannot read {title} in {folder}: {reason}", reason) from None


def published_checksums(title: str) -> list[tuple[str, str]]:
    """Files below the folder, archives among them, with the MD5 that torchvision knows of each."""
    kind = getattr(_import_datasets(), title)
    base = getattr(kind, "base_folder", "")
    found = [
        (f"{base}/{name}", md5) for name, md5 in [*getattr(kind, "train_list", ()), *getattr(kind, "test_list", ())]
    ]
    if base:
        found += [(f"{base}/{kind.meta['filename']}", kind.meta["md5"]), (kind.filename, kind.tgz_md5)]
    found += [(f"flowers-102/{name}", md5) for name, md5 in getattr(kind, "_file_dict", {}).values()]
    found += [(f"oxford-iiit-pet/{url.rpartition('/')[2]}", md5) for url, md5 in getattr(kind, "_RESOURCES", ())]
    if hasattr(kind, "_MD5"):
        found.append((kind._URL.rpartition("/")[2], kind._MD5))
    return found


def _alone_in(folder: Path) -> AbstractContextManager[object]:
    """Processes that start together do not download over one another; a folder that nobody can write needs no lock."""
    return FileLock(folder / ".triscale.lock") if os.access(folder, os.W_OK) else nullcontext()


def _import_datasets() -> ModuleType:
    if importlib.util.find_spec("torchvision") is None:
        raise ValueError("torchvision is not installed: pip install 'triscale[datasets]'")
    declare_operators()
    import torchvision.datasets  # type: ignore[import-untyped]

    return torchvision.datasets  # type: ignore[no-any-return]


@cache
def declare_operators() -> torch.library.Library | None:
    """Declare the operators that importing torchvision looks up, where its compiled part does not load.

    That part loads only beside the torch build it was made for, and no dataset needs it. The declaration lasts as
    long as the library is alive, hence the cache.
    """
    if hasattr(torch.ops.torchvision, "nms"):
        return None  # loaded, or declared by someone else
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None, "torchvision is not installed: pip install 'triscale[datasets]'"
    for folder in spec.submodule_search_locations or ():
        for compiled in Path(folder).glob("_C.*"):
            try:
                torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
            except OSError:
                continue
            return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


def _convert(dataset: Any, title: str) -> ImageDataset:
    """Pixels in memory or files with labels, whichever torchvision holds."""
    pixels = getattr(dataset, "data", None)
    if isinstance(pixels, np.ndarray | torch.Tensor):
        labels = _integers(dataset.targets if hasattr(dataset, "targets") else dataset.labels)
        return ArrayDataset(_channels_last(np.asarray(pixels)), labels, _class_names(dataset, labels), title)
    files, labels = _files(dataset)
    folder = os.path.commonpath([str(dataset.root), *files[:1]])
    relative = PackedStrings.of(os.path.relpath(file, folder) for file in files)
    return FolderDataset(folder, relative, labels, _class_names(dataset, labels))


def _files(dataset: Any) -> tuple[list[str], Labels]:
    """torchvision keeps them under different names from class to class."""
    if hasattr(dataset, "_samples") or hasattr(dataset, "samples"):
        samples = getattr(dataset, "_samples", None) or dataset.samples
        return [str(file) for file, _ in samples], _integers([label for _, label in samples])
    files = dataset._image_files if hasattr(dataset, "_image_files") else dataset._images
    return [str(file) for file in files], _integers(dataset._labels)


def _integers(labels: Iterable[Any]) -> Labels:
    return np.asarray(labels).astype(np.int64)


def _channels_last(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if pixels.ndim == 3:
        return pixels[..., None].astype(np.uint8, copy=False)
    if pixels.shape[1] == 3 and pixels.shape[-1] != 3:  # SVHN and STL10
        pixels = pixels.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels, np.uint8)


def _class_names(dataset: Any, labels: Labels) -> tuple[str, ...]:
    """As torchvision says; numbers where it does not."""
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None) or ()
    found = tuple(", ".join(name) if isinstance(name, tuple) else str(name) for name in names)
    count = int(labels.max(initial=-1)) + 1
    return found if len(found) >= count else tuple(map(str, range(count)))
