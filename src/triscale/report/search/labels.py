"""Texts beside points, placed where they hide as little as possible."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from triscale.report.search.look import INK, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Boxes = npt.NDArray[np.float64]
"""Rows of left, bottom, right, top."""

PLACES: Final = (
    *((6, -5, "left", "top"), (-6, 5, "right", "bottom"), (6, 5, "left", "bottom"), (-6, -5, "right", "top")),
    *((0, 9, "center", "bottom"), (0, -9, "center", "top"), (9, 0, "left", "center"), (-9, 0, "right", "center")),
    *((16, -14, "left", "top"), (-16, 14, "right", "bottom"), (16, 14, "left", "bottom"), (-16, -14, "right", "top")),
    *((0, 24, "center", "bottom"), (0, -24, "center", "top"), (26, 0, "left", "center"), (-26, 0, "right", "center")),
)
"""Points away from what is labelled, and how the text lies there; what comes first is liked best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A text and the point, in data, that it belongs to."""

    x: float
    y: float
    text: str
    colour: str = INK
    bold: bool = False


def place_labels(axes: "Axes", labels: Sequence[Label]) -> None:
    """Write all labels, one after another, away from points, lines, error bars and each other.

    The figure must hold everything else by now: its layout stays as it is from here on.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    _settle(figure)
    per_point = figure.dpi / 72
    taken = _drawn(axes, per_point)
    frame = axes.get_window_extent()
    for label in labels:
        text = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=SMALL,
            color=label.colour,
            fontweight="bold" if label.bold else "normal",
            parse_math=False,
            annotation_clip=False,
        )
        found = text.get_window_extent()
        point = axes.transData.transform((label.x, label.y))
        size = np.array([found.width, found.height])
        boxes = [_box(place, point, size, per_point) for place in PLACES]
        costs = [
            _overlap(box, taken).sum() / per_point**2
            + 1000 * max(0.0, frame.x0 - box[0], frame.y0 - box[1], box[2] - frame.x1, box[3] - frame.y1)
            + rank
            for rank, box in enumerate(boxes)
        ]
        best = int(np.argmin(costs))
        dx, dy, across, up = PLACES[best]
        text.set(position=(dx, dy), ha=across, va=up)
        taken = np.vstack([taken, boxes[best]])


def _settle(figure: "Figure") -> None:
    """Lay the figure out, and keep it so: labels are placed for it."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.execute(figure)
        figure.set_layout_engine("none")


def _box(
    place: tuple[int, int, str, str],
    point: npt.NDArray[np.float64],
    size: npt.NDArray[np.float64],
    per_point: float,
) -> npt.NDArray[np.float64]:
    """Where a text of this size would lie, in pixels."""
    dx, dy, across, up = place
    before = {"left": 0.0, "center": 0.5, "right": 1.0}[across], {"bottom": 0.0, "center": 0.5, "top": 1.0}[up]
    start = point + np.array([dx, dy]) * per_point - np.array(before) * size
    return np.concatenate([start, start + size])


def _overlap(box: npt.NDArray[np.float64], others: Boxes) -> npt.NDArray[np.float64]:
    """Area that `box` shares with each."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    area: npt.NDArray[np.float64] = np.clip(width, 0, None) * np.clip(height, 0, None)
    return area


def _drawn(axes: "Axes", per_point: float) -> Boxes:
    """Boxes along lines and around markers, in pixels."""
    from matplotlib.collections import LineCollection, PathCollection

    found: list[Boxes] = [np.empty((0, 4))]
    for line in axes.lines:
        places = _finite(line.get_transform().transform(line.get_xydata()))
        if line.get_linestyle() not in ("None", "", " "):
            found.append(_around(_along(places, step=3 * per_point), 1.5 * per_point))
        if line.get_marker() not in ("None", "", " ", None):
            found.append(_around(places, 0.6 * line.get_markersize() * per_point))
    for collection in axes.collections:
        if isinstance(collection, LineCollection):
            for segment in collection.get_segments():
                places = collection.get_transform().transform(segment)
                found.append(_around(_along(_finite(places), step=3 * per_point), 1.5 * per_point))
        elif isinstance(collection, PathCollection):
            places = collection.get_offset_transform().transform(collection.get_offsets())
            found.append(_around(_finite(places), 3 * per_point))
    return np.vstack(found)


def _finite(places: Any) -> npt.NDArray[np.float64]:
    masked = np.ma.asarray(places, dtype=np.float64)
    plain = np.asarray(masked.filled(np.nan), np.float64).reshape(-1, 2)
    kept: npt.NDArray[np.float64] = plain[np.isfinite(plain).all(axis=1)]
    return kept


def _around(places: npt.NDArray[np.float64], reach: float) -> Boxes:
    return np.hstack([places - reach, places + reach])


def _along(places: npt.NDArray[np.float64], *, step: float) -> npt.NDArray[np.float64]:
    """Points on the line through `places`, about `step` apart."""
    parts = [places[:1]]
    for start, end in pairwise(places):
        count = min(1000, max(1, round(float(np.hypot(*(end - start))) / step)))
        parts.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
    return np.vstack(parts)
