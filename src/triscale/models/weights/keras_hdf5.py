"""HDF5 as Keras writes it: which tensors a file holds, under Keras's names, before any is read.

Three layouts: `layer/variable` of Keras 1 and 2, alone or in a whole model; numbered layers of Keras 3; and those in a
zip archive. Files may come from anywhere, so links, external tensors and endless nesting are refused.
"""

import lzma
import re
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from triscale.arch.codec import parse_json

LARGEST_FILE = 4 << 30
"""Bytes, unpacked; the largest of these models (EfficientNetV2-L) takes 0.5 GB, 1.5 GB with its optimizer's state."""
LARGEST_CONFIG = 16 << 20
MOST_ENTRIES = 50_000
"""Groups and tensors in one file; the largest of these models has about 7,000 with its optimizer's state."""
DEEPEST = 16

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
NORMALIZATION = "normalization"
_VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
    "normalization": ("mean", "variance", "count"),
}
"""By the class in a Keras 3 path; variables are numbered in this order."""

_DAMAGE = (OSError, EOFError, KeyError, RuntimeError, TypeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What reading a damaged file raises besides ValueError."""


def h5py_module() -> ModuleType:
    """h5py. Raises ValueError, with what to install, where it is missing."""
    try:
        return import_module("h5py")
    except ImportError:
        raise ValueError("Keras files need h5py, which is not installed: pip install 'triscale[keras]'") from None


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor in a file, not read yet."""

    path: tuple[str, ...]
    """From the group that holds the model."""
    dataset: Any
    layer_name: str | None = None
    """What the layer is called, where a Keras 3 file says so."""

    @property
    def shape(self) -> tuple[int, ...]:
        """In Keras's layout."""
        return tuple(self.dataset.shape)


@dataclass(frozen=True, slots=True)
class Contents:
    """A file's tensors as `layer/variable`, not read yet, and what else it tells about the model."""

    entries: Mapping[str, Entry]
    names: frozenset[str]
    """Of all layers, those without tensors too."""
    config: Mapping[str, Any] | None
    """Keras's description of the model."""
    numbered: bool = False
    """Whether layers have numbers instead of names: `conv2d_4/0`."""

    def renamed(self, names: Mapping[str, str]) -> "Contents":
        """The same tensors, those in `names` under their names there."""
        return replace(self, entries={names.get(name, name): entry for name, entry in self.entries.items()})


def _walk(root: Any, h5py: ModuleType) -> Iterator[Entry]:
    """Every dataset below `root`. Raises ValueError for links out of the file and for endless nesting."""
    groups: list[tuple[tuple[str, ...], Any]] = [((), root)]
    seen = 0
    while groups:
        path, group = groups.pop()
        if len(path) > DEEPEST:
            raise ValueError(f"it nests groups over {DEEPEST} deep")
        for name in group:
            seen += 1
            if seen > MOST_ENTRIES:
                raise ValueError(f"it holds over {MOST_ENTRIES} entries")
            # A link may lead to any file on this machine, so only what lies in this one is followed.
            if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
                raise ValueError(f"it holds a link, {name!r}, which is not followed")
            # Windows wrote its own separator.
            item, below = group[name], (*path, *name.replace("\\", "/").split("/"))
            if isinstance(item, h5py.Group):
                groups.append((below, item))
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ValueError(f"its tensor {name!r} lies in another file, which is not read")
                said = group.attrs.get("name") if path and path[-1] == "vars" else None
                yield Entry(below, item, said if isinstance(said, str) else None)


def _without_suffix(name: str) -> str:
    """`kernel:0` of TensorFlow as `kernel`; `depthwise_kernel` was renamed in Keras 3."""
    return name.partition(":")[0].replace("depthwise_kernel", "kernel")


def _legacy_name(entry: Entry) -> str:
    """Keras 1 and 2 keep `layer/variable`, below the layer's or a nested model's name."""
    layer, variable = (("", *entry.path))[-2:]
    return f"{layer}/{_without_suffix(variable)}"


def _numbered_name(entry: Entry) -> str | None:
    """Keras 3 keeps `class_number/vars/number`, with the layer's name beside it since 3.7; None for other entries."""
    *_, layer, middle, number = ("", "", *entry.path)
    variables = _VARIABLES.get(re.sub(r"_\d+$", "", layer), ())
    if middle != "vars" or not number.isdigit():
        return None
    if entry.layer_name is None:
        return f"{layer}/{number}"
    return f"{entry.layer_name}/{variables[int(number)] if int(number) < len(variables) else number}"


def _unique(named: list[tuple[str, Entry]]) -> dict[str, Entry]:
    counts = Counter(name for name, _ in named)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"it holds {twice} twice; save one network alone")
    return dict(named)


def _legacy_layer_names(group: Any) -> frozenset[str]:
    """The `layer_names` attribute, which Keras splits where it is long."""
    found: set[str] = set()
    for key in group.attrs:
        if re.fullmatch(r"layer_names\d*", key):
            values = np.asarray(group.attrs[key]).ravel().tolist()
            found |= {value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values}
    return frozenset(found)


def _legacy(group: Any, h5py: ModuleType, config: Mapping[str, Any] | None) -> Contents:
    entries = [e for e in _walk(group, h5py) if e.path[0] != "top_level_model_weights"]
    named = [(_legacy_name(entry), entry) for entry in entries]
    return Contents(_unique(named), _legacy_layer_names(group), config)


def _keras3(group: Any, h5py: ModuleType, config: Mapping[str, Any] | None) -> Contents:
    entries = list(_walk(group, h5py))
    named = [(name, entry) for entry in entries if (name := _numbered_name(entry)) is not None]
    contents = Contents(_unique(named), frozenset(group), config)
    return replace(contents, numbered=not any(entry.layer_name for _, entry in named))


@contextmanager
def _archive(path: Path) -> Iterator[tuple[IO[bytes], Mapping[str, Any]]]:
    """The weights and the description in a `.keras` archive; nothing is extracted under a name of its own."""
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryFile() as weights:
        members = {member.filename: member for member in archive.infolist()}
        if missing := [name for name in (_CONFIG, _WEIGHTS) if name not in members]:
            raise ValueError(f"it holds no {missing[0]}")
        for name, largest in ((_CONFIG, LARGEST_CONFIG), (_WEIGHTS, LARGEST_FILE)):
            if members[name].file_size > largest:
                raise ValueError(f"its {name} unpacks to {members[name].file_size} bytes, at most {largest} are read")
        config = _json(archive.read(_CONFIG))
        with archive.open(_WEIGHTS) as packed:
            shutil.copyfileobj(packed, weights, 1 << 20)
        weights.seek(0)
        yield weights, config


def _json(text: bytes | str) -> Mapping[str, Any]:
    if len(text) > LARGEST_CONFIG:
        raise ValueError(f"its description has {len(text)} bytes, at most {LARGEST_CONFIG} are read")
    config = parse_json(text.decode("utf-8") if isinstance(text, bytes) else text, where="its description")
    if not isinstance(config, dict):
        raise ValueError("its description is no object")
    return config


def _contents(file: Any, h5py: ModuleType, config: Mapping[str, Any] | None) -> Contents:
    described = file.attrs.get("model_config")
    if described is not None:
        config = _json(described)
    for group, read in (("model_weights", _legacy), ("layers", _keras3), ("_layer_checkpoint_dependencies", _keras3)):
        if file.get(group, getclass=True, getlink=True) is h5py.HardLink and isinstance(file[group], h5py.Group):
            return read(file[group], h5py, config)
    if "layer_names" in file.attrs or "layer_names0" in file.attrs:
        return _legacy(file, h5py, config)
    raise ValueError("it is an HDF5 file, but not of Keras")


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """A file's contents, as long as it is open. Raises ValueError, naming `path`, for whatever is wrong with it."""
    h5py = h5py_module()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, at most {LARGEST_FILE} are read")
    try:
        if zipfile.is_zipfile(path):
            with _archive(path) as (weights, config), h5py.File(weights, "r") as file:
                yield _contents(file, h5py, config)
        else:
            with h5py.File(path, "r") as file:
                yield _contents(file, h5py, None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged or no Keras file: {reason}") from None


def read(entry: Entry) -> NDArray[np.float32]:
    """The tensor itself, in float32."""
    dtype = entry.dataset.dtype
    if dtype.itemsize == 2 and dtype.kind == "V" and entry.dataset.attrs.get("dtype") == "bfloat16":
        halves = np.frombuffer(entry.dataset[()].tobytes(), np.uint16).reshape(entry.shape)
        return (halves.astype(np.uint32) << 16).view(np.float32)
    if dtype.kind != "f":
        raise ValueError(f"{'/'.join(entry.path)} holds {dtype}, not numbers with a fraction")
    return np.asarray(entry.dataset[()], dtype=np.float32)
