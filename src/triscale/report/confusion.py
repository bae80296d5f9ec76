"""Which classes a network takes for which: as a picture, as CSV, and as figures of each class."""

import csv
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from triscale.storage import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED, READABLE = 16, 60
"""Up to so many classes, cells hold figures; up to so many, a matrix can be read at all."""
PAIRS = 25
"""Rows of the table that stands for a larger matrix."""
LONGEST = 24
"""Characters of a class's name that are drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """How many images of each label (row) got each first choice (column)."""

    class_names: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        size = len(self.class_names)
        if self.counts.shape != (size, size):
            raise ValueError(f"{size} classes need {size} x {size} counts, got {self.counts.shape}")
        if (self.counts < 0).any():
            raise ValueError("counts must not be negative")

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Each row divided by its sum; a class without images has zeros."""
        totals = self.counts.sum(1, keepdims=True)
        shares: npt.NDArray[np.float64] = self.counts / np.maximum(totals, 1)
        return shares

    @property
    def top1(self) -> float:
        """Share of all images on the diagonal; 0 without images."""
        return float(np.trace(self.counts) / max(1, self.counts.sum()))


class Pair(NamedTuple):
    """Images of one class that were taken for another."""

    label: str
    taken_for: str
    images: int
    share: float
    """Of the images with this label."""


def most_confused(confusion: Confusion, *, count: int = PAIRS) -> list[Pair]:
    """The pairs with the most images; of equal ones those with the larger share, then in the order of classes."""
    wrong = confusion.counts.copy()
    np.fill_diagonal(wrong, 0)
    rows, columns = np.nonzero(wrong)
    shares = confusion.shares[rows, columns]
    order = np.lexsort((columns, rows, -shares, -wrong[rows, columns]))[:count]
    names = confusion.class_names
    return [Pair(names[rows[i]], names[columns[i]], int(wrong[rows[i], columns[i]]), float(shares[i])) for i in order]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _draw_matrix(axes: "Axes", confusion: Confusion) -> None:
    size, shares = len(confusion.class_names), confusion.shares
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [_short(name) for name in confusion.class_names]
    font = 10 if size <= NUMBERED else max(5, 11 - size // 8)
    straight = size <= NUMBERED and max(map(len, names)) <= 4
    axes.set_xticks(range(size), names, rotation=0 if straight else 90, fontsize=font, parse_math=False)
    axes.set_yticks(range(size), names, fontsize=font, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("taken for")
    axes.set_ylabel("label")
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2 if size <= NUMBERED else 0.3)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    if size <= NUMBERED:
        for (row, column), images in np.ndenumerate(confusion.counts):
            if images:
                share = shares[row, column]
                axes.text(
                    column,
                    row,
                    f"{images}\n{share:.0%}" if share >= 0.005 else f"{images}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if share > 0.55 else "#333333",
                )


def _draw_pairs(axes: "Axes", confusion: Confusion) -> None:
    pairs = most_confused(confusion)
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(len(pairs) + 0.6, -1.2))
    columns = ((0.0, "left", "label"), (0.36, "left", "taken for"), (0.74, "right", "images"), (0.77, "left", "share"))
    for x, side, name in columns:
        axes.text(x, -0.7, name, ha=side, va="center", fontsize=10, color="#555555")
    axes.plot([0, 1], [-0.25, -0.25], color="#bbbbbb", linewidth=0.8)
    widest = max((pair.share for pair in pairs), default=1.0)
    for row, pair in enumerate(pairs, start=0):
        y = row + 0.3
        words = (_short(pair.label), _short(pair.taken_for), f"{pair.images:,}")
        for (x, side, _), word in zip(columns, words, strict=False):
            axes.text(x, y, word, ha=side, va="center", fontsize=10, parse_math=False)
        axes.barh([y], [0.15 * pair.share / widest], left=0.77, height=0.6, color="#4477aa")
        axes.text(0.775 + 0.15 * pair.share / widest, y, f"{pair.share:.0%}", va="center", fontsize=9)
    if not pairs:
        axes.text(0.5, 0.3, "no image was taken for another class", ha="center", va="center", fontsize=11)


def confusion_figure(confusion: Confusion, *, title: str = "") -> "Figure":
    """A matrix coloured by each row's shares; for more than 60 classes a table of the most confused pairs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = len(confusion.class_names)
    matrix = size <= READABLE
    side = max(4.5, 2.2 + (0.62 if size <= NUMBERED else 0.16) * size)
    figure = Figure(figsize=(side, side) if matrix else (8, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    (_draw_matrix if matrix else _draw_pairs)(axes, confusion)
    summary = f"{confusion.counts.sum():,} images, top-1 {confusion.top1:.2%}"
    heading = summary if matrix else f"{summary}: the most confused of {size:,} classes"
    figure.suptitle(f"{title}\n{heading}" if title else heading, fontsize=11, parse_math=False)
    return figure


def draw_confusion(confusion: Confusion, path: Path, *, title: str = "") -> None:
    """Write a PNG of `confusion_figure`."""
    with warnings.catch_warnings(), atomic_path(path) as temporary:
        # Names in scripts that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        confusion_figure(confusion, title=title).savefig(temporary, format="png", dpi=100, facecolor="white")


def write_confusion(confusion: Confusion, path: Path) -> None:
    """Write the counts as CSV: a column for each first choice, a row for each label, names in front."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", *confusion.class_names])
    for name, row in zip(confusion.class_names, confusion.counts.tolist(), strict=True):
        writer.writerow([name, *row])
    write_text(path, text.getvalue())


def class_results(confusion: Confusion) -> list[dict[str, Any]]:
    """For each class its name, images and the share of them that were recognised, None without images."""
    images, right = confusion.counts.sum(1).tolist(), np.diag(confusion.counts).tolist()
    return [
        {"class": name, "images": count, "top1": hits / count if count else None}
        for name, count, hits in zip(confusion.class_names, images, right, strict=True)
    ]


def write_results(path: Path, figures: Mapping[str, Any], confusion: Confusion) -> None:
    """Write `figures` of a validation and those of each class as JSON."""
    content = {**figures, "classes": class_results(confusion)}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
