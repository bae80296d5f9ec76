"""What is in a dataset and what is wrong with it, before it is trained on."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from triscale.data.dataset import ImageDataset, Labels, Splits, class_counts, label_text
from triscale.data.errors import ImageError
from triscale.data.inspect import DIGEST_BYTES, Look, look_at_all
from triscale.data.likeness import SMALLEST_SIDE, alike_groups, equal_groups

T = TypeVar("T")
Watch = Callable[[Iterable[T], int], Iterable[T]]

PARTS: Final = ("train", "validation")

_RECORD: Final = np.dtype(
    [
        ("part", np.int8),
        ("index", np.int64),
        ("height", np.int32),
        ("width", np.int32),
        ("kind", np.int32),
        ("digest", f"V{DIGEST_BYTES}"),
        ("across", np.uint64),
        ("down", np.uint64),
        ("thumb", np.uint8, (64,)),
    ]
)
Records = npt.NDArray[np.void]


class Member(NamedTuple):
    """An image of a dataset."""

    name: str
    part: str
    """`train` or `validation`."""
    class_name: str


class Broken(NamedTuple):
    """An image that cannot be read, and why."""

    name: str
    part: str
    class_name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Images that are the same file, or pictures that look alike."""

    equal: bool
    members: tuple[Member, ...]

    @property
    def across_classes(self) -> bool:
        """Whether they carry different labels, of which at most one is right."""
        return len({member.class_name for member in self.members}) > 1

    @property
    def across_parts(self) -> bool:
        """Whether the network is judged by what it was trained on."""
        return len({member.part for member in self.members}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The least, the median and the greatest of a number for each image."""

    least: float
    median: float
    greatest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `check` found."""

    class_names: tuple[str, ...]
    images: dict[str, int]
    """In each part."""
    class_counts: dict[str, tuple[int, ...]]
    """In each part, by label; broken images count."""
    broken: tuple[Broken, ...]
    kinds: dict[str, int]
    """Formats with how they keep colours, and how many images have each; the most frequent first."""
    width: Spread | None
    """In pixels; None where no image can be read."""
    height: Spread | None
    aspect: Spread | None
    """Width by height."""
    resolution: int | None
    """What `below_resolution` refers to."""
    below_resolution: int
    """Images whose shorter side has fewer pixels."""
    repeats: tuple[Repeat, ...]
    """Equal files first."""

    @property
    def conflicts(self) -> tuple[Repeat, ...]:
        """Those with different labels."""
        return tuple(repeat for repeat in self.repeats if repeat.across_classes)

    @property
    def leaks(self) -> tuple[Repeat, ...]:
        """Those with images in both parts."""
        return tuple(repeat for repeat in self.repeats if repeat.across_parts)


def check(
    splits: Splits,
    *,
    resolution: int | None = None,
    workers: int | None = None,
    watch: Watch[Look | ImageError] = lambda items, _total: items,
) -> Report:
    """Read every image of both parts once, in threads, and say what is there and what is wrong.

    An image counts as broken where training could not read it. Equal are files byte by byte; alike are pictures
    whose outline and greys nearly agree, as after resizing or saving anew; pictures under `SMALLEST_SIDE` pixels or
    without contrast are compared byte by byte alone. `watch` is given the looks and their number, and passes
    them on, for a progress bar. `workers` is one a core unless given.
    """
    if resolution is not None and resolution < 1:
        raise ValueError(f"resolution must be at least 1, got {resolution}")
    threads = workers or os.cpu_count() or 1
    parts: dict[str, ImageDataset] = dict(zip(PARTS, splits, strict=True))
    labels = {part: dataset.labels for part, dataset in parts.items()}
    total = sum(map(len, labels.values()))
    looks = (look for dataset in parts.values() for look in look_at_all(dataset, workers=threads))
    records, kinds, errors = _collect(watch(looks, total), [len(labels[part]) for part in PARTS])
    names = _Names(parts, labels)
    height, width = records["height"].astype(np.float64), records["width"].astype(np.float64)
    shorter = np.minimum(records["height"], records["width"])
    counts = np.bincount(records["kind"], minlength=len(kinds))
    return Report(
        class_names=splits.train.class_names,
        images={part: len(found) for part, found in labels.items()},
        class_counts={part: class_counts(found, len(splits.train.class_names)) for part, found in labels.items()},
        broken=tuple(Broken(*names.member(part, index), reason) for part, index, reason in errors),
        kinds={kinds[number]: int(counts[number]) for number in np.argsort(-counts, kind="stable")},
        width=_spread(width),
        height=_spread(height),
        aspect=_spread(width / height),
        resolution=resolution,
        below_resolution=0 if resolution is None else int((shorter < resolution).sum()),
        repeats=tuple(_repeats(records, names)),
    )


class _Names:
    """What to call images, by part and number."""

    def __init__(self, parts: dict[str, ImageDataset], labels: dict[str, Labels]) -> None:
        self.parts, self.labels = parts, labels

    def member(self, part: int, index: int) -> Member:
        title = PARTS[part]
        dataset = self.parts[title]
        return Member(dataset.name(index), title, label_text(dataset, index))


def _collect(
    looks: Iterable[Look | ImageError], lengths: list[int]
) -> tuple[Records, list[str], list[tuple[int, int, str]]]:
    """The good images as rows, the kinds they refer to, and part, number and reason of each broken one."""
    records = np.empty(sum(lengths), _RECORD)
    kinds: dict[str, int] = {}
    errors: list[tuple[int, int, str]] = []
    row = 0
    for (part, index), look in zip(_places(lengths), looks, strict=True):
        if isinstance(look, ImageError):
            errors.append((part, index, look.reason))
            continue
        kind = kinds.setdefault(look.kind, len(kinds))
        thumb = np.frombuffer(look.outline.thumb, np.uint8)
        size = look.height, look.width
        records[row] = (part, index, *size, kind, look.digest, look.outline.across, look.outline.down, thumb)
        row += 1
    return records[:row], list(kinds), errors


def _places(lengths: list[int]) -> Iterator[tuple[int, int]]:
    return ((part, index) for part, length in enumerate(lengths) for index in range(length))


def _spread(values: npt.NDArray[np.float64]) -> Spread | None:
    if not len(values):
        return None
    return Spread(least=float(values.min()), median=float(np.median(values)), greatest=float(values.max()))


def _repeats(records: Records, names: _Names) -> Iterator[Repeat]:
    """Groups of equal files, then of pictures alike, in which each equal group is stood for by its first."""

    def members(rows: Iterable[int]) -> tuple[Member, ...]:
        return tuple(names.member(int(records["part"][row]), int(records["index"][row])) for row in rows)

    groups = sorted(np.sort(group).tolist() for group in equal_groups(records["digest"]))
    for group in groups:
        yield Repeat(equal=True, members=members(group))
    compared = np.minimum(records["height"], records["width"]) >= SMALLEST_SIDE
    for group in groups:
        compared[group[1:]] = False
    rows = np.flatnonzero(compared)
    for alike in alike_groups(records["across"][rows], records["down"][rows], records["thumb"][rows]):
        yield Repeat(equal=False, members=members(rows[alike]))
