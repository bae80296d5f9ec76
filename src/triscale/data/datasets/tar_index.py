"""Where in a tar shard each labelled image lies, found once by reading the headers and then kept."""

import hashlib
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from triscale.data.datasets.packed import PackedStrings
from triscale.data.errors import printable
from triscale.data.formats import READABLE_SUFFIXES, REFUSED_SUFFIXES
from triscale.data.limits import Limits
from triscale.storage import atomic_path

LARGEST_LABEL: Final = 1 << 20
"""Bytes of a `.cls` or `.json` file."""
LONGEST_LABEL: Final = 200
"""Characters of a label."""
_FORMAT: Final = 1
_IMAGE_SUFFIXES: Final = READABLE_SUFFIXES | REFUSED_SUFFIXES


@dataclass(frozen=True, slots=True, eq=False)
class TarIndex:
    """The samples of one shard, in its order."""

    members: PackedStrings
    """What each image is called in the archive."""
    offsets: npt.NDArray[np.int64]
    """(N,): where its bytes begin."""
    sizes: npt.NDArray[np.int64]
    labels: PackedStrings
    """Each label as it is written, a number or a name."""


def read_tar_index(path: Path, title: str, *, cache: Path) -> TarIndex:
    """The index of the tar archive at `path`, from `cache` unless the archive changed since.

    A sample is a run of members with one name up to the first dot of its last part, as WebDataset writes them:
    an image (`.jpg` and the like) and its label, in `.cls` as text or in `.json` under "label" or "cls".
    Nothing is unpacked: names serve for messages alone. Links and devices are passed over.
    Raises ValueError, which calls the archive `title`, for one that is compressed, truncated or damaged, and for
    a sample that lacks image or label.
    """
    status = path.stat()
    identity = f"{_FORMAT}\n{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    kept = cache / f"{hashlib.sha256(os.fsencode(identity)).hexdigest()[:32]}.npz"
    index = _load(kept, size=status.st_size)
    if index is None:
        index = _scan(path, title)
        _keep(kept, index)
    return index


class _Headers:
    """A file for tarfile, which reads at once as much as a header says, however much that is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= 2 * LARGEST_LABEL:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


@contextmanager
def _refusing(title: str) -> Iterator[None]:
    """Whatever tarfile stumbles over in a damaged header, as one line."""
    try:
        yield
    except Exception as error:
        reason = printable(str(error))
        raise ValueError(f"{title} is no tar archive, or damaged: {reason}; shards are plain .tar files") from None


@dataclass(slots=True)
class _Sample:
    key: str
    image: tarfile.TarInfo | None = None
    label: str | None = None


def _scan(path: Path, title: str) -> TarIndex:
    names: list[str] = []
    labels: list[str] = []
    places: list[tuple[int, int]] = []
    with path.open("rb") as file:
        with _refusing(title):
            archive = tarfile.open(fileobj=_Headers(file), mode="r:")  # type: ignore[call-overload] # noqa: SIM115 - holds nothing of its own
        for sample in _samples(archive, title, size=os.fstat(file.fileno()).st_size):
            if sample.image is None or sample.label is None:
                missing = "image" if sample.image is None else "label (.cls, or .json with a label)"
                raise ValueError(f"{title}: the sample '{printable(sample.key)}' has no {missing}")
            names.append(sample.image.name)
            labels.append(sample.label)
            places.append((sample.image.offset_data, sample.image.size))
    if not names:
        raise ValueError(f"{title} holds no labelled image")
    offsets, sizes = np.array(places, np.int64).T
    return TarIndex(PackedStrings.of(names), offsets.copy(), sizes.copy(), PackedStrings.of(labels))


def _samples(archive: tarfile.TarFile, title: str, *, size: int) -> Iterator[_Sample]:
    sample: _Sample | None = None
    for member in _files(archive, title, size=size):
        folder, slash, name = member.name.rpartition("/")
        stem, _, extension = name.partition(".")
        if not stem or name.startswith("__"):  # hidden files, and notes such as __index__
            continue
        key = f"{folder}{slash}{stem}"
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = _Sample(key)
        extension = extension.lower()
        if f".{extension}" in _IMAGE_SUFFIXES and sample.image is None:
            sample.image = member
        elif extension in ("cls", "json") and sample.label is None:
            sample.label = _label(archive, member, extension, title)
    if sample is not None:
        yield sample


def _files(archive: tarfile.TarFile, title: str, *, size: int) -> Iterator[tarfile.TarInfo]:
    """Regular members, each inside the archive's `size` bytes; one pass, whatever the headers say."""
    limit = Limits().file_bytes
    last = -1
    while True:
        with _refusing(title):
            member = archive.next()
        if member is None:
            break
        archive.members = []  # type: ignore[attr-defined] # it would keep every header
        if member.size < 0 or member.offset <= last:
            raise ValueError(f"{title} is damaged: its headers lead backwards")
        last = member.offset
        if not member.isreg() or member.issparse():
            continue
        if member.offset_data + member.size > size:
            raise ValueError(f"{title} is truncated inside '{printable(member.name)}'; copy or fetch it again")
        if member.size > limit:
            raise ValueError(f"{title}: '{printable(member.name)}' is over the limit of {limit >> 20} MiB")
        yield member
    # tarfile takes a damaged header for the end; the true end is a block of zeros.
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    block = archive.fileobj.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        state = "damaged" if any(block) else "truncated"
        raise ValueError(f"{title} is {state} at byte {archive.offset}; copy or fetch it again")


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo, extension: str, title: str) -> str | None:
    where = f"{title}: {printable(member.name)}"
    if member.size > LARGEST_LABEL:
        raise ValueError(f"{where} has {member.size} bytes, too many for a label")
    file = archive.extractfile(member)
    assert file is not None
    try:
        text = file.read().decode("utf-8").strip()
        label = text if extension == "cls" else _json_label(json.loads(text))
    except (ValueError, RecursionError):
        raise ValueError(f"{where} cannot be read as a label") from None
    if label is None:
        return None
    if not 0 < len(label) <= LONGEST_LABEL:
        state = f"holds {len(label)} characters" if label else "is empty"
        raise ValueError(f"{where} {state}; expected is a class's number or name")
    return printable(label)


def _json_label(data: Any) -> str | None:
    found = next((data[key] for key in ("label", "cls") if key in data), None) if isinstance(data, dict) else None
    return str(found) if isinstance(found, int | str) else None


def _keep(path: Path, index: TarIndex) -> None:
    """Write the index; where that cannot be done, the next run scans again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                offsets=index.offsets,
                sizes=index.sizes,
                members=np.frombuffer(index.members.text, np.uint8),
                member_ends=index.members.ends,
                labels=np.frombuffer(index.labels.text, np.uint8),
                label_ends=index.labels.ends,
            )
    except (OSError, ValueError):
        return


def _load(path: Path, *, size: int) -> TarIndex | None:
    """A kept index; None where there is none, or where it is damaged or does not fit an archive of `size` bytes."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            offsets, sizes = arrays["offsets"], arrays["sizes"]
            members = PackedStrings(arrays["members"].tobytes(), arrays["member_ends"])
            labels = PackedStrings(arrays["labels"].tobytes(), arrays["label_ends"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    columns = (offsets, sizes, members.ends, labels.ends)
    plain = all(column.dtype == np.int64 and column.shape == offsets.shape and column.ndim == 1 for column in columns)
    if not plain or not len(offsets) or min(offsets.min(), sizes.min()) < 0 or (offsets + sizes).max() > size:
        return None
    for strings in (members, labels):
        if np.any(np.diff(strings.ends, prepend=0) < 0) or strings.ends[-1] != len(strings.text):
            return None
    return TarIndex(members, offsets, sizes, labels)
