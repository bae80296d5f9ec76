"""Small datasets in the formats that real ones come in."""

import gzip
import hashlib
import io
import pickle
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

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


class _Python2Pickler(pickle._Pickler):  # type: ignore[misc,name-defined]
    """Writes text and bytes as Python 2's `str`, which it had for both: CIFAR was pickled by it."""

    def _save_string(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch: ClassVar[dict[Any, Any]] = {**pickle._Pickler.dispatch, str: _save_string, bytes: _save_string}  # type: ignore[attr-defined]


def python2_pickle(content: object) -> bytes:
    """`content` as Python 2 pickled it."""
    file = io.BytesIO()
    _Python2Pickler(file, protocol=2).dump(content)
    return file.getvalue()


def write_cifar(root: Path, kind: Any, monkeypatch: pytest.MonkeyPatch, *, classes: int = 10) -> None:
    """Pickled batches of 7 images and the classes' names, with the checksums that torchvision wants to see."""
    folder = root / kind.base_folder
    folder.mkdir()

    def write(name: str, content: object) -> str:
        data = python2_pickle(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    fine = classes == 100
    lists: dict[str, list[list[str]]] = {"train_list": [], "test_list": []}
    for number, (attribute, name) in enumerate((a, n) for a in lists for n, _ in getattr(kind, a)):
        pixels = np.random.default_rng(number).integers(0, 256, (7, 3072), np.uint8)
        labels = [(number + i) % classes for i in range(7)]
        content = {"filenames": [f"{i}.png" for i in range(7)], "batch_label": name, "data": pixels}
        kinds = (
            {"fine_labels": labels, "coarse_labels": [label // 5 for label in labels]} if fine else {"labels": labels}
        )
        lists[attribute].append([name, write(name, content | kinds)])
    for attribute, rows in lists.items():
        monkeypatch.setattr(kind, attribute, rows)
    names = {kind.meta["key"]: [f"class {i}" for i in range(classes)], "num_vis": 3072}
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": write(kind.meta["filename"], names)})


def write_flowers(root: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flowers-102's two .mat files for 12 images: 3 to train on, 2 for validation, 7 for the test."""
    from scipy.io import savemat

    folder = root / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    for number in range(1, 13):
        (folder / "jpg" / f"image_{number:05}.jpg").write_bytes(jpeg(number))
    labels = np.array([[1, 1, 102, 102, 7, 7, 8, 8, 9, 9, 50, 50]], np.uint8)
    savemat(folder / "imagelabels.mat", {"labels": labels})
    parts = {"trnid": [11, 2, 5], "valid": [3, 9], "tstid": [1, 4, 6, 7, 8, 10, 12]}
    savemat(folder / "setid.mat", {name: np.array([ids], np.uint16) for name, ids in parts.items()})
    published = {key: list(value) for key, value in kind._file_dict.items()}
    for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat")):
        published[key] = [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]
    monkeypatch.setattr(kind, "_file_dict", published)


def write_cars(root: Path) -> None:
    """Stanford Cars' development kit for 4 images to train on and 3 for the test, with boxes, of 196 classes."""
    from scipy.io import savemat

    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.array([f"Make {number} Sedan 2012" for number in range(196)], object)
    savemat(folder / "devkit/cars_meta.mat", {"class_names": names})
    boxes = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
    kind = np.dtype([(name, object) for name in [*boxes, "class", "fname"]])
    for part, path, labels in (
        ("cars_train", "devkit/cars_train_annos.mat", (196, 1, 2, 2)),
        ("cars_test", "cars_test_annos_withlabels.mat", (1, 196, 3)),
    ):
        (folder / part).mkdir()
        rows = np.empty((1, len(labels)), kind)
        for number, label in enumerate(labels):
            name = f"{number + 1:05}.jpg"
            rows[0, number] = (1, 2, 20, 20, np.uint8(label), name)
            (folder / part / name).write_bytes(jpeg(100 * len(labels) + number))
        savemat(folder / path, {"annotations": rows})


def write_aircraft(root: Path) -> None:
    """FGVC Aircraft's lists for 5 and 3 images of 3 variants, one with spaces and a slash in its name."""
    folder = root / "fgvc-aircraft-2013b/data"
    (folder / "images").mkdir(parents=True)
    variants = ("707-320", "F/A-18", "Cessna 172")
    (folder / "variants.txt").write_text("".join(f"{name}\n" for name in variants))
    for part, numbers in (("trainval", range(5)), ("test", range(5, 8))):
        lines = [f"{1234567 + number} {variants[number % 3]}\n" for number in numbers]
        (folder / f"images_variant_{part}.txt").write_text("".join(lines))
        for number in numbers:
            (folder / "images" / f"{1234567 + number}.jpg").write_bytes(jpeg(number))


def write_pets(root: Path) -> None:
    """Oxford-IIIT Pets' lists for 5 and 3 images of 3 breeds: image, class, species, breed."""
    folder = root / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    breeds = (("Abyssinian", 1, 1), ("american_bulldog", 2, 1), ("yorkshire_terrier", 2, 2))
    for part, numbers in (("trainval", range(5)), ("test", range(5, 8))):
        lines = []
        for number in numbers:
            breed, species, of_species = breeds[number % 3]
            lines.append(f"{breed}_{number} {number % 3 + 1} {species} {of_species}\n")
            (folder / "images" / f"{breed}_{number}.jpg").write_bytes(jpeg(number))
        (folder / f"annotations/{part}.txt").write_text("".join(lines))


def write_food(root: Path) -> None:
    """Food-101's lists for 3 and 2 images of each of 2 classes."""
    import json

    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    for part, numbers in (("train", range(3)), ("test", range(3, 5))):
        lists = {name: [f"{name}/{number}" for number in numbers] for name in ("waffles", "apple_pie")}
        (folder / f"meta/{part}.json").write_text(json.dumps(lists))
        for name in (name for names in lists.values() for name in names):
            (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "images" / f"{name}.jpg").write_bytes(jpeg(len(name) + 10 * numbers[0] + int(name[-1])))


def write_birdsnap(root: Path, *, images: str = "download/images") -> None:
    """Birdsnap's tables for 7 images of 3 species, 2 of them for the test."""
    folder = root / "birdsnap"
    folder.mkdir(parents=True)
    species = (
        ("1", "Acadian Flycatcher", "Acadian_Flycatcher"),
        ("2", "Cooper's Hawk", "Coopers_Hawk"),
        ("10", "Sora", "Sora"),
    )
    lines = ["id\tcommon\tscientific\tdir", *(f"{i}\t{common}\tGenus species\t{place}" for i, common, place in species)]
    (folder / "species.txt").write_text("\n".join(lines) + "\n")
    parts = [f"{part}_{axis}" for part in ("back", "beak") for axis in "xy"]
    rows = ["\t".join(["url", "md5", "path", "species_id", "bb_x1", "bb_y1", "bb_x2", "bb_y2", *parts])]
    paths = []
    for number in (5, 3, 0, 6, 1, 4, 2):
        identifier, _, place = species[number % 3]
        data = jpeg(number)
        path = f"{place}/{number:04}.jpg"
        paths.append(path)
        (folder / images / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / images / path).write_bytes(data)
        url = f"http://farm1.staticflickr.com/{number}.jpg"
        row = [url, hashlib.md5(data).hexdigest(), path, identifier, "1", "2", "20", "20", *["null"] * 4]
        rows.append("\t".join(row))
    (folder / "images.txt").write_text("\n".join(rows) + "\n")
    (folder / "test_images.txt").write_text("\n".join(["path", paths[1], paths[3]]) + "\n")
