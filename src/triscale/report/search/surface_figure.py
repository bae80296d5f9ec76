"""The fitted surface over alpha and beta, where shares of depth, width and resolution sum to 1."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from triscale.report.search.look import (
    BLACK,
    MAP,
    PANEL,
    QUIET,
    RED,
    SCORE,
    WHITE,
    colour_bar,
    dress,
    legend,
    new_figure,
    percent,
    score_norm,
    title,
)
from triscale.report.search.summaries import CoefficientSearch, Surface, Triple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

SIDE: Final = 60
"""Steps along each side of the triangle of shares."""


def growth(triple: Triple) -> float:
    """s = log2(alpha * beta^2 * gamma^2), about 1 where multiply-adds double."""
    return math.log2(triple.alpha) + 2 * math.log2(triple.beta) + 2 * math.log2(triple.gamma)


def shares(triple: Triple) -> tuple[float, float, float]:
    """Of depth, width and resolution in the growth; they sum to 1. Raises ValueError where nothing grows."""
    total = growth(triple)
    if total <= 1e-9:
        raise ValueError(f"alpha {triple.alpha}, beta {triple.beta} and gamma {triple.gamma} grow nothing")
    return (
        math.log2(triple.alpha) / total,
        2 * math.log2(triple.beta) / total,
        2 * math.log2(triple.gamma) / total,
    )


def predicted(coefficients: Sequence[float], depth: Floats, width: Floats, resolution: Floats) -> Floats:
    """Scheffé's quadratic at these shares."""
    d, w, r = depth, width, resolution
    terms = (d, w, r, d * w, d * r, w * r)
    value: Floats = np.zeros_like(d)
    for coefficient, term in zip(coefficients, terms, strict=True):
        value = value + coefficient * term
    return value


def _triangle() -> tuple[Floats, Floats, Floats, npt.NDArray[np.int64]]:
    """Shares over the whole triangle, and the triangles between them."""
    places = [(i, j) for i in range(SIDE + 1) for j in range(SIDE + 1 - i)]
    index = {place: number for number, place in enumerate(places)}
    corners = [(index[i, j], index[i + 1, j], index[i, j + 1]) for i, j in places if i + j < SIDE]
    corners += [(index[i + 1, j], index[i + 1, j + 1], index[i, j + 1]) for i, j in places if i + j < SIDE - 1]
    array = np.array(places, np.float64) / SIDE
    depth, width = array[:, 0], array[:, 1]
    return depth, width, np.clip(1 - depth - width, 0, 1), np.array(corners)


def surface_panel(search: CoefficientSearch, surface: Surface, *, whole: bool) -> "Figure":
    """Contours, candidates, the optimum, and the region that its interval does not tell from it."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.tri import Triangulation

    figure = new_figure((7.5, 6.0) if whole else (PANEL[0], 5.0), dpi=100 if whole else 72)
    axes = figure.add_subplot()
    total = max(growth(surface.optimum.triple), 1e-6)
    depth, width, resolution, corners = _triangle()
    values = 100 * predicted(surface.coefficients, depth, width, resolution)
    mesh = Triangulation(2 ** (depth * total), 2 ** (width * total / 2), corners)
    colours = ScalarMappable(score_norm(values.tolist()), MAP)
    levels = _levels(values)
    if len(levels) > 2:
        axes.tricontourf(mesh, values, levels, cmap=colours.cmap, norm=colours.norm, antialiased=False, zorder=1)
        axes.tricontour(mesh, values, levels[1:-1], colors=WHITE, linewidths=0.8, zorder=1.5)
    edge = np.linspace(0, 1, SIDE + 1)
    axes.plot(2 ** (edge * total), 2 ** ((1 - edge) * total / 2), color=QUIET, linewidth=1.4, zorder=1.6)
    handles = _draw_marks(axes, search, surface, total)
    low = surface.optimum.low
    if low is not None and values.min() < 100 * low < values.max():
        axes.tricontour(mesh, values, [100 * low], colors=RED, linewidths=2.2, linestyles="--", zorder=2)
        handles.append(_line_handle(f"within the optimum's interval, above {percent(low)}"))
    dress(axes, across="α, depth", up="β, width")
    axes.set_xlim(_padded(2**total))
    axes.set_ylim(_padded(2 ** (total / 2)))
    colour_bar(figure, axes, colours, f"fitted {SCORE}")
    legend(axes, columns=1, handles=handles)
    if whole:
        title(figure, "Fitted surface over α and β; γ takes the rest")
    return figure


def _padded(high: float) -> tuple[float, float]:
    """From a little before 1 to a little past `high`."""
    return 1 - 0.04 * (high - 1), high + 0.04 * (high - 1)


def _levels(values: Floats) -> Floats:
    """Round contour values from below the lowest to above the highest; few or none for a flat surface."""
    from matplotlib.ticker import MaxNLocator

    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return np.empty(0)
    return np.asarray(MaxNLocator(nbins=12).tick_values(low, high), np.float64)


def _line_handle(text: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=RED, linewidth=2.2, linestyle="--", label=text)


def _draw_marks(axes: Any, search: CoefficientSearch, surface: Surface, total: float) -> list[Any]:
    tried = [each for each in search.candidates if each.mean is not None and growth(each.triple) > 1e-9]
    placed = [each.shares or shares(each.triple) for each in tried]
    handles = []
    if placed:
        handles += axes.plot(
            [2 ** (each[0] * total) for each in placed],
            [2 ** (each[1] * total / 2) for each in placed],
            "o",
            color=WHITE,
            markeredgecolor=BLACK,
            markersize=6,
            label="a candidate that was trained",
            zorder=3,
        )
    best = surface.optimum
    interval = "" if best.low is None or best.high is None else f" ({100 * best.low:.1f} to {100 * best.high:.1f})"
    handles += axes.plot(
        [best.alpha],
        [best.beta],
        "*",
        color=RED,
        markeredgecolor=WHITE,
        markersize=19,
        label=f"optimum: α {best.alpha:.3g}, β {best.beta:.3g}, γ {best.gamma:.3g}, {percent(best.mean)}{interval}",
        zorder=4,
    )
    return handles
