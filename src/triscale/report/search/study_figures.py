"""The paper's Figures 3, 4 and 8 from a study: what each way of scaling brings for its multiply-adds."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from triscale.report.search.labels import Label, place_labels
from triscale.report.search.lines import SPREAD, draw_line, drawn_scores
from triscale.report.search.look import (
    BLUE,
    GREEN,
    INK,
    OCHRE,
    PANEL,
    PURPLE,
    RED,
    SCORE,
    TEAL,
    WAY_COLOURS,
    WAY_MARKERS,
    dress,
    heading,
    legend,
    macs_axis,
    new_figure,
    score_axis,
    title,
)
from triscale.report.search.picture import Panel, Picture
from triscale.report.search.summaries import Study, StudyRow, Way, WidthPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SINGLE: Final = (Way.WIDTH, Way.DEPTH, Way.RESOLUTION)
"""In the order of Figure 3."""
LINE_COLOURS: Final = (BLUE, GREEN, PURPLE, RED, OCHRE, TEAL)
LINE_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")


def study_pictures(study: Study) -> tuple[Picture, ...]:
    """As many of the three figures as there are scores for."""
    found = []
    if single := [way for way in SINGLE if _scored(_line(study, way), of=way)]:
        found.append(
            Picture(
                file="figure-3",
                title="One dimension at a time",
                caption=f"After the paper's Figure 3: the baseline made wider, deeper or given larger images. {SPREAD}",
                whole=partial(_figure_3, study, single),
                panels=tuple(
                    Panel(says=_says(study, way), figure=partial(_panel_3, study, single, way)) for way in single
                ),
            )
        )
    if ways := [way for way in Way if way is not Way.BASELINE and _scored(_line(study, way), of=way)]:
        found.append(
            Picture(
                file="figure-8",
                title="All ways to scale",
                caption=f"After the paper's Figure 8: all ways in one picture. {SPREAD}",
                whole=partial(_figure_8, study, ways, whole=True),
                panels=(
                    Panel(
                        says=f"{SCORE} against multiply-adds, scaled by {', '.join(ways)}; the table has the figures",
                        figure=partial(_figure_8, study, ways, whole=False),
                    ),
                ),
            )
        )
    if any(point.mean is not None for point in study.width_lines):
        found.append(
            Picture(
                file="figure-4",
                title="Width at other depths and resolutions",
                caption="After the paper's Figure 4: each line widens a baseline of its own depth d and resolution r.",
                whole=partial(_figure_4, study.width_lines, whole=True),
                panels=(
                    Panel(
                        says=f"{SCORE} against multiply-adds for width scaling of baselines that differ in depth and "
                        "resolution",
                        figure=partial(_figure_4, study.width_lines, whole=False),
                    ),
                ),
            )
        )
    return tuple(found)


def _line(study: Study, way: Way) -> list[StudyRow]:
    """The baseline and its networks scaled in one way that have a score, by cost."""
    rows = [row for row in study.rows if row.way in (Way.BASELINE, way) and row.mean is not None]
    return sorted(rows, key=lambda row: row.macs)


def _scored(rows: Iterable[StudyRow], *, of: Way) -> bool:
    return any(row.way is of for row in rows)


def _says(study: Study, way: Way) -> str:
    return (
        f"{SCORE} against multiply-adds for {way} scaling, {len(_line(study, way))} networks; the table has the figures"
    )


def _coefficient(row: StudyRow, way: Way) -> str:
    value = {Way.WIDTH: row.width, Way.DEPTH: row.depth, Way.RESOLUTION: row.resolution}[way]
    return f"{way.value[0]}={value:.2f}".removesuffix("0")


def _draw_single(axes: "Axes", study: Study, singles: Sequence[Way], way: Way) -> None:
    """One panel of Figure 3; all of them have the same range of scores."""
    rows = _line(study, way)
    draw_line(axes, rows, colour=WAY_COLOURS[way], marker=WAY_MARKERS[way], name=way.value)
    dress(axes, across="multiply-adds", up=SCORE)
    heading(axes, f"{way.value.capitalize()} ({way.value[0]})")
    macs_axis(axes, [row.macs for row in rows])
    score_axis(axes, drawn_scores(row for each in singles for row in _line(study, each)))


def _label_single(axes: "Axes", study: Study, way: Way) -> None:
    place_labels(
        axes,
        [
            Label(x=row.macs, y=100 * row.mean, text=_coefficient(row, way))
            for row in _line(study, way)
            if row.mean is not None
        ],
    )


def _figure_3(study: Study, singles: Sequence[Way]) -> "Figure":
    figure = new_figure((1.2 + 4.3 * len(singles), 4.4))
    panels = [figure.add_subplot(1, len(singles), column) for column in range(1, len(singles) + 1)]
    for axes, way in zip(panels, singles, strict=True):
        _draw_single(axes, study, singles, way)
    for axes in panels[1:]:
        axes.set_ylabel("")
    title(figure, "Scaling the baseline in one dimension")
    for axes, way in zip(panels, singles, strict=True):
        _label_single(axes, study, way)
    return figure


def _panel_3(study: Study, singles: Sequence[Way], way: Way) -> "Figure":
    figure = new_figure(PANEL, dpi=72)
    axes = figure.add_subplot()
    _draw_single(axes, study, singles, way)
    _label_single(axes, study, way)
    return figure


def _figure_8(study: Study, ways: Sequence[Way], *, whole: bool) -> "Figure":
    figure = new_figure((7.5, 5.4)) if whole else new_figure((PANEL[0], 4.4), dpi=72)
    axes = figure.add_subplot()
    for way in ways:
        draw_line(
            axes,
            _line(study, way),
            colour=WAY_COLOURS[way],
            marker=WAY_MARKERS[way],
            name=way.value,
            bold=way is Way.COMPOUND,
        )
    baseline = [row for row in study.rows if row.way is Way.BASELINE and row.mean is not None]
    for row in baseline:
        assert row.mean is not None
        axes.plot([row.macs], [100 * row.mean], "o", color=INK, markersize=8, zorder=5)
    rows = [row for way in ways for row in _line(study, way)]
    dress(axes, across="multiply-adds", up=SCORE)
    macs_axis(axes, [row.macs for row in rows])
    score_axis(axes, drawn_scores(rows))
    legend(axes, columns=4)
    if whole:
        title(figure, "Scaling the baseline in different ways")
    place_labels(
        axes,
        [Label(x=row.macs, y=100 * row.mean, text="baseline") for row in baseline if row.mean is not None],
    )
    return figure


def _figure_4(points: Sequence[WidthPoint], *, whole: bool) -> "Figure":
    figure = new_figure((7.5, 5.4)) if whole else new_figure((PANEL[0], 4.4), dpi=72)
    axes = figure.add_subplot()
    known = [point for point in points if point.mean is not None]
    for index, start in enumerate(dict.fromkeys((point.depth, point.resolution) for point in known)):
        line = sorted(
            (point for point in known if (point.depth, point.resolution) == start), key=lambda each: each.macs
        )
        draw_line(
            axes,
            line,
            colour=LINE_COLOURS[index % len(LINE_COLOURS)],
            marker=LINE_MARKERS[index % len(LINE_MARKERS)],
            name=f"d={start[0]:.1f}, r={start[1]:.1f}" if _tenths(*start) else f"d={start[0]:.2f}, r={start[1]:.2f}",
        )
    dress(axes, across="multiply-adds", up=SCORE)
    macs_axis(axes, [point.macs for point in known])
    score_axis(axes, drawn_scores(known))
    legend(axes, columns=2 if not whole else 4)
    if whole:
        title(figure, "Width scaling of different baselines")
    return figure


def _tenths(*values: float) -> bool:
    return all(abs(10 * value - round(10 * value)) < 1e-6 for value in values)
