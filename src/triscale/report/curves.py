"""A run's curves, from its log: loss, accuracy and learning rate over epochs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from triscale.run_log import read_log
from triscale.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING, HELD_OUT, VALIDATION, MARK = "#4477aa", "#ee6677", "#228833", "#888888"
"""Paul Tol's bright scheme, which colour-blind readers can tell apart."""
PLAIN_EPOCHS = 40
"""Runs of at most so many epochs get a dot for each."""


class Point(NamedTuple):
    """A value after so many epochs."""

    epoch: float
    value: float


class Mark(NamedTuple):
    """Something that happened to a run."""

    epoch: float
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What a run's log says over epochs; shares are 0..1."""

    train_loss: tuple[Point, ...] = ()
    minival_loss: tuple[Point, ...] = ()
    train_top1: tuple[Point, ...] = ()
    minival_score: tuple[Point, ...] = ()
    """By the metric that chose the best weights."""
    learning_rate: tuple[Point, ...] = ()
    best: Point | None = None
    """The epoch whose weights were kept, where held-out images chose it."""
    validation_score: float | None = None
    metric: str = "top-1"
    """What the scores are."""
    marks: tuple[Mark, ...] = ()
    """Resumptions and roll-backs."""


def _points(rows: Iterable[Mapping[str, Any]], name: str) -> tuple[Point, ...]:
    # A loss that is not finite stands in the log as text.
    return tuple(Point(row["epoch"], row[name]) for row in rows if _number(row.get("epoch")) and _number(row.get(name)))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


SCORES = {"map": "mAP", "mean_per_class": "mean per class", "top1": "top-1"}
"""What the log may call the metric, the one that chose the weights before those told beside it; and its title."""


def _metric(rows: Iterable[Mapping[str, Any]]) -> str:
    """The name, in the log, of the metric that chose the best weights."""
    told = {name for row in rows for name in SCORES if f"minival_{name}" in row or f"validation_{name}" in row}
    return next((name for name in SCORES if name in told), "top1")


def _best(epochs: Sequence[Mapping[str, Any]], name: str) -> Point | None:
    """What the run itself said last of which epoch served the held-out images best."""
    epoch = next((row["best_epoch"] for row in reversed(epochs) if _number(row.get("best_epoch"))), None)
    kept = [row[name] for row in epochs if row.get("epoch") == epoch and _number(row.get(name))]
    return Point(epoch, kept[-1]) if epoch is not None and kept else None


def curves(rows: Sequence[Mapping[str, Any]]) -> Curves:
    """What `read_log` gave, as points to draw."""
    epochs = [row for row in rows if row["event"] in ("start", "epoch")]
    metric = _metric(rows)
    looks = [row for row in rows if row["event"] == "train"]
    per_epoch = next((row["steps_per_epoch"] for row in rows if _number(row.get("steps_per_epoch"))), None)
    marks = tuple(
        Mark(row["step"] / per_epoch, row["event"])
        for row in rows
        if per_epoch and row["event"] in ("resumed", "rolled back")
    )
    validation = [row[f"validation_{metric}"] for row in rows if _number(row.get(f"validation_{metric}"))]
    return Curves(
        train_loss=_points(epochs, "train_loss"),
        minival_loss=_points(epochs, "minival_loss"),
        train_top1=_points(epochs, "train_top1"),
        minival_score=_points(epochs, f"minival_{metric}"),
        learning_rate=_points(looks, "learning_rate"),
        best=_best(epochs, f"minival_{metric}"),
        validation_score=validation[-1] if validation else None,
        metric=SCORES[metric],
        marks=marks,
    )


def _line(axes: "Axes", points: Sequence[Point], colour: str, label: str, *, percent: bool = False) -> None:
    if points:
        factor = 100 if percent else 1
        axes.plot(
            [point.epoch for point in points],
            [factor * point.value for point in points],
            color=colour,
            label=label,
            linewidth=1.8,
            marker="o" if len(points) <= PLAIN_EPOCHS else "",
            markersize=3.5,
        )


def _draw_marks(axes: "Axes", marks: Sequence[Mark]) -> None:
    styles = {"resumed": ":", "rolled back": "--"}
    for index, mark in enumerate(marks):
        first = all(earlier.what != mark.what for earlier in marks[:index])
        label = mark.what if first else "_nolegend_"
        axes.axvline(mark.epoch, color=MARK, linestyle=styles[mark.what], linewidth=1.2, label=label, zorder=1)


def _draw_scores(axes: "Axes", drawn: Curves) -> None:
    _line(axes, drawn.train_top1, TRAINING, "training", percent=True)
    _line(axes, drawn.minival_score, HELD_OUT, "held out", percent=True)
    if drawn.best is not None:
        value = 100 * drawn.best.value
        axes.plot([drawn.best.epoch], [value], "*", color=HELD_OUT, markersize=13, label=f"kept, {value:.2f}%")
    if drawn.validation_score is not None:
        value = 100 * drawn.validation_score
        axes.axhline(value, color=VALIDATION, linewidth=1.4, linestyle="-.", label=f"validation {value:.2f}%")


def curves_figure(drawn: Curves, *, title: str = "") -> "Figure":
    """Loss, accuracy and learning rate beneath each other, over the same epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 8.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 1, height_ratios=[3, 3, 1.3])
    loss = figure.add_subplot(grid[0])
    score, rate = (figure.add_subplot(grid[row], sharex=loss) for row in (1, 2))
    _line(loss, drawn.train_loss, TRAINING, "training")
    _line(loss, drawn.minival_loss, HELD_OUT, "held out")
    _draw_scores(score, drawn)
    rate.plot(
        [point.epoch for point in drawn.learning_rate],
        [point.value for point in drawn.learning_rate],
        color=TRAINING,
        linewidth=1.5,
    )
    for axes, name in ((loss, "loss"), (score, f"{drawn.metric}, %"), (rate, "learning rate")):
        _draw_marks(axes, drawn.marks)
        axes.set_ylabel(name)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
    for axes in (loss, score):
        axes.tick_params(labelbottom=False)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False, fontsize=9)
    rate.set_xlabel("epoch")
    rate.set_ylim(bottom=0)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    rate.set_xlim(left=0)
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    return figure


def draw_curves(log: Path, path: Path, *, title: str = "") -> None:
    """Write a PNG of the run whose log is given. Raises ValueError where it tells of no epoch."""
    drawn = curves(read_log(log))
    if not drawn.train_loss:
        raise ValueError(f"{log} tells of no finished epoch, so there is nothing to draw")
    with atomic_path(path) as temporary:
        curves_figure(drawn, title=title).savefig(temporary, format="png", dpi=100, facecolor="white")
