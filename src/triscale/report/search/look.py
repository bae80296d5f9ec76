"""How the pictures of a search look: colours, axes and the few texts that they share."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from triscale.report.search.summaries import Way
from triscale.scaling.quantities import format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

INK, QUIET, EDGE, CARD = "#17202c", "#566275", "#e1e5eb", "#ffffff"
BLUE, GREEN, PURPLE, RED, OCHRE, TEAL = "#4477aa", "#228833", "#aa3377", "#ee6677", "#997700", "#0d8a8a"
"""After Paul Tol's schemes, which colour-blind readers can tell apart; every series has its own marker too."""
VARIABLES: Final[Mapping[str, str]] = {
    INK: "--ink",
    QUIET: "--quiet",
    EDGE: "--edge",
    CARD: "--card",
    BLUE: "--blue",
    GREEN: "--green",
    PURPLE: "--purple",
    RED: "--red",
    OCHRE: "--ochre",
    TEAL: "--teal",
}
"""What the page's style sheet calls a colour, so that pictures follow dark mode."""
BLACK, WHITE = "#010101", "#fefefe"
"""Over a heat map: the same in light and dark mode."""
MAP: Final = "cividis"

WAY_COLOURS: Final = {
    Way.BASELINE: INK,
    Way.DEPTH: BLUE,
    Way.WIDTH: GREEN,
    Way.RESOLUTION: PURPLE,
    Way.COMPOUND: RED,
}
WAY_MARKERS: Final = {Way.BASELINE: "o", Way.DEPTH: "s", Way.WIDTH: "^", Way.RESOLUTION: "D", Way.COMPOUND: "o"}

TEXT: Final = 12
"""Points; a page's picture is about as many pixels wide on a phone as it has points."""
SMALL: Final = 10.5
PANEL: Final = (4.8, 3.7)
"""Inches of a picture on the page."""
SCORE: Final = "top-1, %"
NICE: Final = (1, 2, 2.5, 5, 10)
"""What ticks are multiples of."""
LOG_FROM: Final = 20.0
"""Axes of multiply-adds whose ends are further apart than this are logarithmic."""


def new_figure(size: tuple[float, float], *, dpi: float = 100) -> "Figure":
    """Without pyplot, whose figures live until they are closed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: "Axes", *, across: str, up: str) -> None:
    """Titles of the axes, quiet frames and a grid."""
    axes.set_xlabel(across, color=QUIET, fontsize=TEXT)
    axes.set_ylabel(up, color=QUIET, fontsize=TEXT)
    axes.grid(color=EDGE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    axes.tick_params(colors=QUIET, labelsize=SMALL, which="both")
    axes.set_facecolor("none")
    for axis in (axes.xaxis, axes.yaxis):
        _whole_numbers_stay(axis)


def _whole_numbers_stay(axis: "Axis") -> None:
    """Ticks say what they stand for, not how far they are from 9e1."""
    from matplotlib.ticker import ScalarFormatter

    formatter = axis.get_major_formatter()
    if isinstance(formatter, ScalarFormatter):
        formatter.set_useOffset(False)


def heading(axes: "Axes", text: str) -> None:
    """A panel's title; what names hold is no mathematics."""
    axes.set_title(text, loc="left", color=INK, fontsize=TEXT, fontweight="bold", parse_math=False)


def title(figure: "Figure", text: str) -> None:
    """A picture's title."""
    figure.suptitle(text, fontsize=TEXT + 1, color=INK, parse_math=False)


def macs_axis(axes: "Axes", macs: Sequence[int]) -> None:
    """The axis across, with ticks such as 400M, from a little before the smallest to a little past the largest."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = min(macs), max(macs)
    if high > LOG_FROM * low:
        axes.set_xscale("log")
        few = high > 1000 * low
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if few else (1.0, 3.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(low / 1.4, high * 1.4)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=NICE))
        margin = 0.12 * (high - low) or 0.2 * low
        axes.set_xlim(max(0.0, low - margin), high + margin)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_quantity(value) if value >= 0 else ""))


def score_axis(axes: "Axes", scores: Sequence[float]) -> None:
    """The axis up, in per cent, around what is shown."""
    from matplotlib.ticker import MaxNLocator

    low, high = 100 * min(scores), 100 * max(scores)
    margin = max(0.12 * (high - low), 0.1)
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=NICE))


def score_norm(scores: Sequence[float]) -> "Normalize":
    """Colours from the lowest to the highest, in per cent; also where all are the same."""
    from matplotlib.colors import Normalize

    low, high = min(scores), max(scores)
    return Normalize(low, high) if high - low > 1e-9 else Normalize(low - 0.5, high + 0.5)


def shade(colours: "ScalarMappable", value: float) -> tuple[float, float, float, float]:
    """The colour of a value: red, green, blue, opacity."""
    (found,) = np.asarray(colours.to_rgba(np.array([value])))
    red, green, blue, opacity = map(float, found)
    return red, green, blue, opacity


def colour_bar(figure: "Figure", axes: "Axes", colours: "ScalarMappable", text: str, *, counts: bool = False) -> None:
    """Beside `axes`; `counts` are whole numbers."""
    from matplotlib.ticker import MaxNLocator

    bar = figure.colorbar(colours, ax=axes, aspect=30, pad=0.02, ticks=MaxNLocator(nbins=7, integer=counts))
    _whole_numbers_stay(bar.ax.yaxis)
    bar.set_label(text, color=QUIET, fontsize=TEXT)
    bar.ax.tick_params(colors=QUIET, labelsize=SMALL)
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")


def legend(axes: "Axes", *, columns: int, handles: Sequence[Any] | None = None) -> None:
    """Beneath the axes, where it hides nothing."""
    named = axes.get_legend_handles_labels()[0] if handles is None else handles
    figure = axes.get_figure(root=True)
    assert figure is not None
    made = figure.legend(
        handles=named,
        loc="outside lower center",
        ncols=min(columns, max(1, len(named))),
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
        columnspacing=1.4,
        handletextpad=0.5,
    )
    for text in made.get_texts():
        text.set_parse_math(False)


def plain(text: str, *, longest: int = 32) -> str:
    """`text` with what the pictures' font may lack replaced, and shortened."""
    shown = "".join(char if char.isprintable() and char < "\u0250" else "?" for char in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def percent(share: float) -> str:
    """91.2 %."""
    return f"{100 * share:.1f} %"
