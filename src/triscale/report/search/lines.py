"""A line of measured networks: means with error bars, and the single seeds."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREAD: Final = (
    "Large marks are means over seeds, bars their standard deviation, faint dots beside them the single seeds."
)
SEEDS_ASIDE: Final = 6.0
"""Points that single seeds are drawn left of their mean, whose bar would hide them."""


class Measured(Protocol):
    """What has a cost and scores."""

    @property
    def macs(self) -> int:
        """Multiply-adds."""

    @property
    def scores(self) -> tuple[float, ...]:
        """One for each seed."""

    @property
    def mean(self) -> float | None:
        """Of the scores."""

    @property
    def deviation(self) -> float | None:
        """Of the scores; None for one seed."""


def drawn_scores(points: Iterable[Measured]) -> list[float]:
    """All scores that are drawn, with the ends of error bars."""
    found: list[float] = []
    for point in points:
        if point.mean is not None:
            spread = point.deviation or 0.0
            found += [*point.scores, point.mean - spread, point.mean + spread]
    return found


def draw_line(
    axes: "Axes",
    points: Sequence[Measured],
    *,
    colour: str,
    marker: str,
    name: str,
    bold: bool = False,
    style: str = "-",
) -> None:
    """Means with error bars, joined, and the single seeds."""
    from matplotlib.transforms import ScaledTranslation

    known = [point for point in points if point.mean is not None]
    order = 4 if bold else 3
    figure = axes.get_figure(root=True)
    assert figure is not None
    aside = axes.transData + ScaledTranslation(-SEEDS_ASIDE / 72, 0, figure.dpi_scale_trans)
    for point in known:
        if len(point.scores) > 1:
            axes.scatter(
                [point.macs] * len(point.scores),
                [100 * score for score in point.scores],
                s=14,
                color=colour,
                alpha=0.45,
                linewidths=0,
                transform=aside,
                zorder=2,
            )
    axes.plot(
        [point.macs for point in known],
        [100 * point.mean for point in known if point.mean is not None],
        color=colour,
        marker=marker,
        linestyle=style,
        linewidth=3 if bold else 1.6,
        markersize=8 if bold else 6,
        label=name,
        zorder=order,
    )
    if spread := [point for point in known if point.deviation is not None]:
        axes.errorbar(
            [point.macs for point in spread],
            [100 * point.mean for point in spread if point.mean is not None],
            yerr=[100 * point.deviation for point in spread if point.deviation is not None],
            fmt="none",
            ecolor=colour,
            elinewidth=1.4,
            capsize=3.5,
            zorder=order,
        )
