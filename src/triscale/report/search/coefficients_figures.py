"""Scores over alpha and beta: the candidates themselves, and the surface fitted to them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from triscale.report.search.look import (
    BLACK,
    EDGE,
    INK,
    MAP,
    PANEL,
    QUIET,
    SCORE,
    TEXT,
    WHITE,
    colour_bar,
    dress,
    new_figure,
    percent,
    score_norm,
    shade,
    title,
)
from triscale.report.search.picture import Panel, Picture
from triscale.report.search.summaries import Candidate, CoefficientSearch, Surface
from triscale.report.search.surface_figure import surface_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

CELL: Final = (0.62, 0.5)
"""Inches; wider where several candidates share a cell, each on one line."""
SHARED_WIDTH: Final = 0.95
MOST_CELLS: Final = (40, 30)
"""Along alpha and beta; finer grids get dots."""
OUTLINES: Final = "Thick outline: the best. Dashed: within noise of it."
RINGS: Final = "Thick ring: the best. Thin ring: within noise of it."

Cells = Mapping[tuple[int, int], Sequence[Candidate]]
"""By place on the grid, candidates by descending gamma."""


def coefficient_pictures(search: CoefficientSearch) -> tuple[Picture, ...]:
    """The candidates, and the surface where there is one; nothing before the first score."""
    if all(each.mean is None for each in search.candidates):
        return ()
    cells = _cells(search)
    wide = cells is not None and _size(cells)[0] > PANEL[0]
    scored = sum(each.mean is not None for each in search.candidates)
    caption = f"Mean {SCORE} by alpha and beta; gamma, which follows from them, is written beneath. {OUTLINES}"
    if cells is None:
        caption = f"Mean {SCORE} by alpha and beta, from which gamma follows; the table has it. {RINGS}"
    found = [
        Picture(
            file="candidates",
            title="Candidates",
            caption=caption,
            whole=partial(_figure, search, cells, whole=True),
            panels=(
                Panel(
                    says=f"{SCORE} of {scored} candidates over alpha and beta; the table has the figures",
                    figure=partial(_figure, search, cells, whole=False),
                    wide=wide,
                ),
            ),
        )
    ]
    if search.surface is not None:
        surface = search.surface
        found.append(
            Picture(
                file="surface",
                title="Fitted surface",
                caption=f"A quadratic in the shares of depth, width and resolution, fitted to {surface.trainings} "
                f"trainings that scatter by {100 * surface.noise:.2f} points around it. Each dot is a candidate, at "
                f"the alpha and beta of its shares on the surface; along the curve, gamma is 1.{_where(surface)}",
                whole=partial(surface_panel, search, surface, whole=True),
                panels=(
                    Panel(
                        says=f"contour lines of {SCORE} over alpha and beta, best at alpha "
                        f"{surface.optimum.alpha:.3g}, beta {surface.optimum.beta:.3g}",
                        figure=partial(surface_panel, search, surface, whole=False),
                    ),
                ),
            )
        )
    return tuple(found)


def _where(surface: Surface) -> str:
    """Where the optimum may lie, where that is known."""
    named = (("alpha", surface.alpha), ("beta", surface.beta), ("gamma", surface.gamma))
    found = [f"{name} {each.low:.3g} to {each.high:.3g}" for name, each in named if each is not None]
    return f" 95 % of surfaces that fit as well have their optimum at {', '.join(found)}." if found else ""


def _place(value: float, step: float) -> int | None:
    """Steps away from 1; None between the steps."""
    steps = (value - 1) / step
    if abs(steps) > 1e6 or abs(steps - round(steps)) > 0.01:
        return None
    return round(steps)


def _cells(search: CoefficientSearch) -> Cells | None:
    """None for candidates that lie on no grid, or on one too fine to write in."""
    cells: dict[tuple[int, int], list[Candidate]] = defaultdict(list)
    for each in search.candidates:
        column, row = _place(each.alpha, search.step), _place(each.beta, search.step)
        if column is None or row is None:
            return None
        cells[column, row].append(each)
    for axis, most in enumerate(MOST_CELLS):
        places = [cell[axis] for cell in cells]
        if max(places) - min(places) >= most:
            return None
    return {cell: sorted(each, key=lambda one: -one.gamma) for cell, each in cells.items()}


def _size(cells: Cells) -> tuple[float, float]:
    """Inches of a picture in which every cell has room for its texts."""
    columns, rows = (max(cell[axis] for cell in cells) - min(cell[axis] for cell in cells) + 1 for axis in (0, 1))
    strips = max(len(each) for each in cells.values())
    width, height = (CELL[0], CELL[1]) if strips == 1 else (SHARED_WIDTH, max(CELL[1], 0.24 * strips))
    return max(PANEL[0], 1.5 + width * columns), max(3.0, 1.2 + height * rows)


def _figure(search: CoefficientSearch, cells: Cells | None, *, whole: bool) -> "Figure":
    from matplotlib.cm import ScalarMappable

    size = (PANEL[0], 4.4) if cells is None else _size(cells)
    if whole:
        size = (max(size[0], 6.5), max(size[1], 4.5) + 0.3)
    figure = new_figure(size, dpi=100 if whole else 72)
    axes = figure.add_subplot()
    means = [each.mean for each in search.candidates if each.mean is not None]
    colours = ScalarMappable(score_norm([100 * mean for mean in means]), MAP)
    dress(axes, across="α, depth", up="β, width")
    axes.grid(visible=False)
    if cells is None:
        _draw_dots(axes, search, colours)
    else:
        _draw_cells(axes, search, cells, colours)
    colour_bar(figure, axes, colours, SCORE)
    if whole:
        title(figure, "Candidates for α, β and γ")
    return figure


def _draw_cells(axes: "Axes", search: CoefficientSearch, cells: Cells, colours: "ScalarMappable") -> None:
    from matplotlib.patches import Rectangle

    for (column, row), stack in cells.items():
        height = 0.88 / len(stack)
        for index, each in enumerate(stack):
            bottom = row + 0.44 - (index + 1) * height
            best, close = search.is_best(each), search.is_within_noise(each)
            fill = "none" if each.mean is None else shade(colours, 100 * each.mean)
            axes.add_patch(
                Rectangle((column - 0.45, bottom + 0.01), 0.9, height - 0.02, facecolor=fill, edgecolor=EDGE)
            )
            if best or close:
                outline = Rectangle(
                    (column - 0.45, bottom + 0.01),
                    0.9,
                    height - 0.02,
                    fill=False,
                    edgecolor=INK,
                    linewidth=3.5 if best else 2,
                    linestyle="-" if best else (0, (3, 1.5)),
                    zorder=3 if best else 2.5,
                )
                axes.add_patch(outline)
            score = "–" if each.mean is None else f"{100 * each.mean:.1f}"
            separator = "\n" if len(stack) == 1 else "  "
            axes.text(
                column,
                bottom + height / 2,
                f"{score}{separator}γ {each.gamma:.3g}",
                ha="center",
                va="center",
                fontsize=9.5 if len(stack) == 1 else 8.5,
                linespacing=1.25,
                color=QUIET if each.mean is None else _readable(colours, 100 * each.mean),
                fontweight="bold" if best else "normal",
                zorder=4,
            )
    for axis, along in ((0, axes.xaxis), (1, axes.yaxis)):
        places = [cell[axis] for cell in cells]
        ticks = range(min(places), max(places) + 1)
        along.set_ticks(list(ticks), [f"{1 + tick * search.step:.6g}" for tick in ticks])
    axes.set_xlim(min(cell[0] for cell in cells) - 0.55, max(cell[0] for cell in cells) + 0.55)
    axes.set_ylim(min(cell[1] for cell in cells) - 0.55, max(cell[1] for cell in cells) + 0.55)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _readable(colours: "ScalarMappable", value: float) -> str:
    red, green, blue, _ = shade(colours, value)
    return BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.45 else WHITE


def _draw_dots(axes: "Axes", search: CoefficientSearch, colours: "ScalarMappable") -> None:
    for each in search.candidates:
        best, close = search.is_best(each), search.is_within_noise(each)
        axes.plot(
            [each.alpha],
            [each.beta],
            "o",
            markersize=13 if best else 10,
            color="none" if each.mean is None else shade(colours, 100 * each.mean),
            markeredgecolor=INK if best or close else EDGE if each.mean is not None else QUIET,
            markeredgewidth=3 if best else 1.6,
            fillstyle="full",
            zorder=4 if best else 3,
        )
        if best and each.mean is not None:
            axes.set_title(
                f"best: α {each.alpha:.3g}, β {each.beta:.3g}, γ {each.gamma:.3g}, {percent(each.mean)}",
                fontsize=TEXT,
                color=INK,
                loc="left",
            )
    axes.margins(0.1)
