"""Small datasets in the formats that real ones come in."""

import gzip
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.data.pictures import encoded


def picture(seed: int, *, height: int = 24, width: int = 32) -> npt.NDArray[np.uint8]:
    """Noise in colour, another for each seed."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def jpeg(seed: int, **size: int) -> bytes:
    """A file with a picture of its own."""
    return encoded(picture(seed, **size), "JPEG", quality=90)


def write_folders(root: Path, counts: Mapping[str, int], *, seed: int = 0) -> None:
    """`counts` says how many images lie in each folder."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            seed += 1
            (root / folder / f"{number}.jpg").write_bytes(jpeg(seed))


def write_shard(path: Path, labels: Sequence[object], *, extension: str = "cls", first: int = 0) -> None:
    """A shard as the webdataset package writes it: image `first + i` with label `labels[i]`."""
    import webdataset

    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:
        for number, label in enumerate(labels, start=first):
            body = {"label": label, "source": "here"} if extension == "json" else label
            writer.write({"__key__": f"some/{number:06}", "jpg": jpeg(number), extension: body})


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """The array as MNIST's files hold it."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_fashion(folder: Path, *, train: int = 30, test: int = 20, packed: bool = True) -> None:
    """Fashion-MNIST's four files with random contents, labels in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (part, count) in enumerate({"train": train, "t10k": test}.items()):
        images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            data = idx(array)
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
