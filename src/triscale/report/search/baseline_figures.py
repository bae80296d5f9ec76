"""What the search of a baseline looked at: accuracy against cost, and how its reward grew."""

from functools import partial
from typing import TYPE_CHECKING, Final

from triscale.report.search.labels import Label, place_labels
from triscale.report.search.look import (
    BLUE,
    INK,
    MAP,
    PANEL,
    QUIET,
    RED,
    SCORE,
    TEAL,
    colour_bar,
    dress,
    legend,
    macs_axis,
    new_figure,
    plain,
    score_axis,
    title,
)
from triscale.report.search.picture import Panel, Picture
from triscale.report.search.summaries import BaselineSearch, Finalist, HandMade, Sample
from triscale.scaling.quantities import format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS: Final = 5
"""Finalists that are named in the picture."""
SHORTEST_WINDOW: Final = 5
"""Samples that a moving average is over, at least."""


def baseline_pictures(search: BaselineSearch) -> tuple[Picture, ...]:
    """Candidates where any has a score, rewards where any has one."""
    found = []
    judged = [each for each in search.candidates if each.score is not None]
    if judged:
        trained = "; stars and the diamond were trained in full" if search.top or search.hand_made else ""
        found.append(
            Picture(
                file="candidates",
                title="Candidates",
                caption=f"Each dot is a network the search looked at, judged by its short training{trained}. The line "
                "joins those that no other beats in both multiply-adds and score. Bars are standard deviations over "
                "seeds.",
                whole=partial(_candidates, search, judged, whole=True),
                panels=(
                    Panel(
                        says=f"{SCORE} against multiply-adds of {len(judged)} candidates, "
                        f"{len(search.front)} of them on the Pareto front; the tables have the figures",
                        figure=partial(_candidates, search, judged, whole=False),
                    ),
                ),
            )
        )
    rewarded = sorted((each for each in search.candidates if each.value is not None), key=lambda each: each.number)
    if rewarded:
        found.append(
            Picture(
                file="rewards",
                title="Rewards",
                caption=f"What each sample was worth to the search: {search.reward}, where cost is {search.cost}.",
                whole=partial(_rewards, search, rewarded, whole=True),
                panels=(
                    Panel(
                        says=f"reward of {len(rewarded)} samples in their order, with the best so far",
                        figure=partial(_rewards, search, rewarded, whole=False),
                    ),
                ),
            )
        )
    return tuple(found)


def _candidates(search: BaselineSearch, judged: list[Sample], *, whole: bool) -> "Figure":
    figure = new_figure((8, 5.8) if whole else (PANEL[0], 4.8), dpi=100 if whole else 72)
    axes = figure.add_subplot()
    points = axes.scatter(
        [each.macs for each in judged],
        [100 * each.score for each in judged if each.score is not None],
        c=[each.number for each in judged],
        cmap=MAP,
        s=30,
        edgecolors=QUIET,
        linewidths=0.6,
        zorder=2,
    )
    front = sorted((each for each in judged if each.number in search.front), key=lambda each: each.macs)
    if front:
        axes.plot(
            [each.macs for each in front],
            [100 * each.score for each in front if each.score is not None],
            color=QUIET,
            linewidth=1.6,
            drawstyle="steps-post",
            label="Pareto front",
            zorder=1.5,
        )
    macs = [each.macs for each in judged]
    if search.target_macs is not None:
        target = f"target, {format_quantity(search.target_macs)}"
        axes.axvline(search.target_macs, color=INK, linestyle="--", linewidth=1.2, label=target, zorder=1)
        macs.append(search.target_macs)
    scores = [each.score for each in judged if each.score is not None]
    labels = []
    trained: list[Finalist | HandMade] = [*search.top, *filter(None, [search.hand_made])]
    for rank, each in enumerate(trained):
        if each.mean is None:
            continue
        first = all(earlier.mean is None for earlier in search.top[:rank])
        _draw_trained(axes, each, named=first)
        macs.append(each.macs)
        scores += [each.mean - (each.deviation or 0.0), each.mean + (each.deviation or 0.0)]
        if isinstance(each, HandMade):
            labels.append(Label(x=each.macs, y=100 * each.mean, text=plain(each.name, longest=20), bold=True))
        elif len(labels) < MOST_LABELS:
            labels.append(Label(x=each.macs, y=100 * each.mean, text=f"#{each.number}"))
    dress(axes, across="multiply-adds", up=SCORE)
    macs_axis(axes, macs)
    score_axis(axes, scores)
    points.set_clim(*_limits([each.number for each in judged]))
    colour_bar(figure, axes, points, "order of the search", counts=True)
    legend(axes, columns=4 if whole else 2)
    if whole:
        title(figure, "What the search looked at")
    place_labels(axes, labels)
    return figure


def _limits(numbers: list[int]) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    return (low, high) if high > low else (low - 1, high + 1)


def _draw_trained(axes: "Axes", each: Finalist | HandMade, *, named: bool) -> None:
    assert each.mean is not None
    hand_made = isinstance(each, HandMade)
    colour = TEAL if hand_made else RED
    axes.errorbar(
        [each.macs],
        [100 * each.mean],
        yerr=None if each.deviation is None else [100 * each.deviation],
        fmt="D" if hand_made else "*",
        color=colour,
        markersize=9 if hand_made else 14,
        elinewidth=1.6,
        capsize=4,
        label="made by hand" if hand_made else "best, trained in full" if named else "_nolegend_",
        zorder=5,
    )


def moving_average(values: list[float], window: int) -> list[float]:
    """The mean of each value and up to `window` - 1 before it."""
    return [sum(part) / len(part) for end in range(1, len(values) + 1) if (part := values[max(0, end - window) : end])]


def _rewards(search: BaselineSearch, rewarded: list[Sample], *, whole: bool) -> "Figure":
    from matplotlib.ticker import MaxNLocator

    figure = new_figure((8, 5) if whole else (PANEL[0], 4.4), dpi=100 if whole else 72)
    axes = figure.add_subplot()
    numbers = [each.number for each in rewarded]
    values = [each.value for each in rewarded if each.value is not None]
    axes.scatter(numbers, values, s=16, color=BLUE, alpha=0.5, linewidths=0, label="a sample", zorder=2)
    window = max(SHORTEST_WINDOW, len(values) // 20)
    if len(values) > window:
        name = f"mean of {window} samples"
        axes.plot(numbers, moving_average(values, window), color=BLUE, linewidth=2, label=name, zorder=3)
    if search.best_so_far:
        best = [*search.best_so_far]
        if best[-1].number < numbers[-1]:
            best.append(best[-1]._replace(number=numbers[-1]))
        axes.plot(
            [each.number for each in best],
            [each.reward for each in best],
            color=RED,
            linewidth=2.2,
            drawstyle="steps-post",
            marker="" if len(best) > 1 else "o",
            label="best so far",
            zorder=4,
        )
    dress(axes, across="sample", up="reward")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    low, high = _limits(numbers)
    axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    legend(axes, columns=3)
    if whole:
        title(figure, "Rewards over the search")
    return figure
