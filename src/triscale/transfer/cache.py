"""Features kept on disk by network and image, in files of a few hundred images that are whole or not used at all."""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from triscale.arch.codec import encode, spec_to_json
from triscale.arch.preprocessing import Preprocessing
from triscale.data.pixels import Pixels
from triscale.data.read import ImageBytes, Source
from triscale.download import cache_folder
from triscale.models.files import Model
from triscale.storage import atomic_path

logger = logging.getLogger(__name__)

FORMAT: Final = "triscale-features 1"
"""Part of every key: a new number makes whatever was kept before invisible."""
LARGEST_CACHE: Final = 4 << 30
"""Bytes; what was not used for longest goes first. 1,280 features of a million images take 5 GB."""
_KEY_BYTES: Final = 16
_SUFFIX: Final = ".safetensors"

Values = npt.NDArray[np.float32]


def default_folder() -> Path:
    """Where features are kept unless another folder is named."""
    return cache_folder() / "features"


def network_key(model: Model, *, device: str) -> str:
    """What the features of an image depend on beside the image: SHA-256 as 64 hexadecimal digits.

    The classifier, and what has a meaning only in training, play no part.
    """
    network, card = model
    spec = replace(
        network.spec,
        name="any",
        classes=0,
        resolution=card.preprocessing.resolution,
        dropout=0.0,
        stochastic_depth_rate=0.0,
    )
    said = {"format": FORMAT, "device": device, "folded": network.folded, "spec": spec_to_json(spec, indent=None)}
    digest = hashlib.sha256(json.dumps({**said, "preprocessing": _as_json(card.preprocessing)}).encode())
    for name, tensor in network.state_dict().items():
        if not name.startswith("classifier."):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).data)
    return digest.hexdigest()


def _as_json(preprocessing: Preprocessing) -> str:
    return json.dumps(encode(preprocessing), sort_keys=True)


def image_key(image: Source | Pixels) -> bytes:
    """What tells one image from another: a file's path, size and time of change, else its bytes or pixels.

    Raises OSError where a file is not there.
    """
    if isinstance(image, Path):
        status = image.stat()
        said = f"file {status.st_size} {status.st_mtime_ns} {os.path.abspath(image)}"  # noqa: PTH100 - a Path is slow
        digest = hashlib.sha256(os.fsencode(said))
    elif isinstance(image, ImageBytes):
        digest = hashlib.sha256(b"bytes " + image.data)
    else:
        digest = hashlib.sha256(f"pixels {image.shape} ".encode())
        digest.update(np.ascontiguousarray(image).data)
    return digest.digest()[:_KEY_BYTES]


class _Place(NamedTuple):
    path: Path
    row: int


class FeatureCache:
    """Features of images for one network, in `folder / key`. Several threads may look up; one adds.

    A file's name is the checksum of what it holds. A damaged one is removed, and its images are computed anew.
    """

    def __init__(self, folder: Path, key: str, *, width: int, largest: int = LARGEST_CACHE) -> None:
        self._root, self._folder = folder, folder / key[:32]
        self._width, self._largest = width, largest
        self._loaded: dict[Path, Values | None] = {}
        self._lock = threading.Lock()
        self._writable = True
        self._places = dict(self._index())

    def _index(self) -> Iterator[tuple[bytes, _Place]]:
        for path in sorted(self._folder.glob(f"[!.]*{_SUFFIX}")):
            try:
                with safe_open(path, framework="np") as file:
                    keys = file.get_tensor("keys")
            except (SafetensorError, OSError, ValueError):
                _remove(path)
                continue
            yield from ((key.tobytes(), _Place(path, row)) for row, key in enumerate(keys))

    def find(self, key: bytes) -> Values | None:
        """The features of an image, (width,), or None where they are not kept."""
        place = self._places.get(key)
        if place is None:
            return None
        with self._lock:
            if place.path not in self._loaded:
                self._loaded[place.path] = self._load(place.path)
            values = self._loaded[place.path]
        return None if values is None else values[place.row]

    def _load(self, path: Path) -> Values | None:
        try:
            with safe_open(path, framework="np") as file:
                keys, values = file.get_tensor("keys"), file.get_tensor("values")
            if _checksum(keys, values) == path.stem and values.shape[1:] == (self._width,):
                os.utime(path)
                kept: Values = values
                return kept
        except (SafetensorError, OSError, ValueError):
            pass
        _remove(path)
        return None

    def add(self, keys: Sequence[bytes], values: Values) -> None:
        """Keep `values` (n, width) of n images. A disk that refuses is told of once, and nothing more is kept."""
        if not self._writable or not keys:
            return
        rows = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, _KEY_BYTES)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._folder / (_checksum(rows, values) + _SUFFIX)) as temporary:
                temporary.write_bytes(save({"keys": rows, "values": values}))
            trim(self._root, most_bytes=self._largest)
        except (OSError, ValueError) as error:
            self._writable = False
            logger.warning("features are not kept for another time: %s", error)


def trim(folder: Path, *, most_bytes: int) -> None:
    """Remove the files below `folder` that were not used for longest, until the rest take at most `most_bytes`."""
    sizes: Mapping[Path, tuple[float, int]] = dict(_files(folder))
    total = sum(size for _, size in sizes.values())
    for path in sorted(sizes, key=lambda path: sizes[path]):
        if total <= most_bytes:
            break
        _remove(path)
        total -= sizes[path][1]


def _files(folder: Path) -> Iterator[tuple[Path, tuple[float, int]]]:
    for path in folder.glob(f"*/[!.]*{_SUFFIX}"):
        try:
            status = path.stat()
        except OSError:  # another process was quicker
            continue
        yield path, (status.st_mtime, status.st_size)


def _checksum(keys: npt.NDArray[np.uint8], values: Values) -> str:
    digest = hashlib.sha256(f"{values.dtype} {keys.shape} {values.shape} ".encode())
    for array in (keys, values):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:40]


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s cannot be removed: %s", path, error.strerror)
