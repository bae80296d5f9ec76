"""Where the lines, dots and ticks of the page's charts go; the template draws them as SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from triscale.report.curves import Curves, Point
from triscale.report.page.records import Calibration

WIDTH, HEIGHT = 380, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 34
"""Margins; all in the units of the drawing."""
MOST_POINTS: Final = 600
"""Of a line; a page is no place for each of a million updates."""
DOTS: Final = 40
"""Lines of at most so many points get a dot for each."""


class Tick(NamedTuple):
    """A place on an axis and what stands there."""

    place: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series."""

    name: str
    look: str
    """Class in the style sheet."""
    path: str
    dots: tuple[tuple[float, float], ...]
    values: tuple[tuple[float, float, str, str], ...]
    """Place across, place down, what is said of the value, and of the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing with lines over epochs."""

    key: str
    title: str
    across: tuple[Tick, ...]
    down: tuple[Tick, ...]
    lines: tuple[Line, ...]
    best: tuple[float, float] | None = None
    marks: tuple[Tick, ...] = ()


def nice_ticks(low: float, high: float, *, count: int = 5) -> tuple[float, ...]:
    """Round numbers that enclose `low`..`high`, about `count` of them, by steps of 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high)) or high < low:
        raise ValueError(f"ticks need a finite range, got {low}..{high}")
    largest = max(abs(low), abs(high))
    if largest < 1e-300:
        low, high = 0.0, 1.0
    elif high - low <= 1e-12 * largest:
        low, high = min(0.0, low), max(0.0, high)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(number * step for number in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class Scale:
    """Values of an axis to places in the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Rounded to a tenth, so that files stay small."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Evenly chosen, with the first and the last."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(index * (len(points) - 1) / (MOST_POINTS - 1))] for index in range(MOST_POINTS)]


def _number(value: float) -> str:
    return f"{value:.4g}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}%"


def _chart(
    key: str,
    title: str,
    series: Sequence[tuple[str, str, Sequence[Point]]],
    say: Callable[[float], str],
    *,
    tick: Callable[[float], str],
    epochs: float,
    zero: bool = False,
    best: Point | None = None,
    drawn: Curves,
) -> Chart | None:
    shown = [(name, look, _thinned(points)) for name, look, points in series if points]
    if not shown:
        return None
    values = [point.value for _, _, points in shown for point in points] + ([0.0] if zero else [])
    across, down = nice_ticks(0, epochs), nice_ticks(min(values), max(values))
    x = Scale(0.0, max(epochs, 1e-9), LEFT, WIDTH - RIGHT)
    y = Scale(down[0], down[-1], HEIGHT - BOTTOM, TOP)
    lines = []
    for name, look, points in shown:
        places = tuple((x(point.epoch), y(point.value)) for point in points)
        lines.append(
            Line(
                name=name,
                look=look,
                path="M" + "L".join(f"{a:g} {b:g}" for a, b in places),
                dots=places if len(places) <= DOTS else (),
                values=tuple(
                    (*place, say(point.value), f"epoch {point.epoch:.4g}")
                    for place, point in zip(places, points, strict=True)
                ),
            )
        )
    return Chart(
        key=key,
        title=title,
        across=tuple(Tick(x(value), f"{value:g}") for value in across if value <= epochs),
        down=tuple(Tick(y(value), tick(value)) for value in down),
        lines=tuple(lines),
        best=None if best is None else (x(best.epoch), y(best.value)),
        marks=tuple(Tick(x(mark.epoch), mark.what) for mark in drawn.marks if mark.epoch <= epochs),
    )


def curve_charts(drawn: Curves) -> tuple[Chart, ...]:
    """Loss, score and learning rate over epochs, as far as the log tells of them."""
    lines = (drawn.train_loss, drawn.minival_loss, drawn.train_top1, drawn.minival_score, drawn.learning_rate)
    epochs = max((point.epoch for points in lines for point in points), default=0.0)
    if epochs <= 0:
        return ()
    scores = [("held out", "held-out", drawn.minival_score)]
    if drawn.metric == "top-1":
        scores.insert(0, ("training", "training", drawn.train_top1))
    charts = (
        _chart(
            "loss",
            "Loss",
            [("training", "training", drawn.train_loss), ("held out", "held-out", drawn.minival_loss)],
            _number,
            tick=_number,
            epochs=epochs,
            drawn=drawn,
        ),
        _chart(
            "score",
            drawn.metric[:1].upper() + drawn.metric[1:] if drawn.metric != "mAP" else "mAP",
            scores,
            _percent,
            tick=lambda value: f"{100 * value:.3g}%",
            epochs=epochs,
            best=drawn.best,
            drawn=drawn,
        ),
        _chart(
            "rate",
            "Learning rate",
            [("learning rate", "rate", drawn.learning_rate)],
            _number,
            tick=_number,
            epochs=epochs,
            zero=True,
            drawn=drawn,
        ),
    )
    return tuple(chart for chart in charts if chart is not None)


def hover_data(charts: Sequence[Chart]) -> dict[str, Any]:
    """What the script says over a chart: by chart, its lines with places and texts."""
    return {chart.key: [{"name": line.name, "values": line.values} for line in chart.lines] for chart in charts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bin of the calibration diagram."""

    x: float
    width: float
    top: float
    height: float
    diagonal: float
    """Down to where the mean confidence lies."""
    opacity: float
    """By the share of images."""
    text: str


SIDE, EDGE = 300, 40
"""Of the calibration diagram, and its left and lower margin."""


def calibration_bars(found: Calibration) -> tuple[Bar, ...]:
    """A bar for each bin with images: as high as its accuracy, with its mean confidence."""
    place = Scale(0.0, 1.0, EDGE, SIDE - 10)
    height = Scale(0.0, 1.0, SIDE - EDGE, 10)
    most = max((each.images for each in found.bins), default=1) or 1
    bars = []
    for each in found.bins:
        if each.accuracy is None or each.confidence is None:
            continue
        top = height(each.accuracy)
        bars.append(
            Bar(
                x=place(each.low) + 1,
                width=round(place(each.high) - place(each.low) - 2, 1),
                top=top,
                height=round(height(0) - top, 1),
                diagonal=height(each.confidence),
                opacity=round(0.35 + 0.65 * math.sqrt(each.images / most), 2),
                text=f"{each.images:,} images said to be right with {each.confidence:.1%}: {each.accuracy:.1%} are",
            )
        )
    return tuple(bars)


def epoch_rows(rows: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The log's epochs as a table: titles, and a row for each epoch."""
    titles = {
        "epoch": "epoch",
        "train_loss": "training loss",
        "train_top1": "training top-1",
        "minival_loss": "held-out loss",
        "minival_top1": "held-out top-1",
        "minival_mean_per_class": "held-out mean per class",
        "minival_map": "held-out mAP",
    }
    epochs = [row for row in rows if row["event"] == "epoch"]
    named = [name for name in titles if any(name in row for row in epochs)]

    def cell(name: str, value: Any) -> str:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return "" if value is None else str(value)
        return _percent(value) if name.endswith(("top1", "map", "mean_per_class")) else f"{value:.4g}"

    return tuple(titles[name] for name in named), tuple(
        tuple(cell(name, row.get(name)) for name in named) for row in epochs
    )
