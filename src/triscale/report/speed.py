"""A chart of latencies: a group of bars for each network, a bar for each engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from triscale.report.search.look import (
    BLUE,
    GREEN,
    INK,
    OCHRE,
    PURPLE,
    QUIET,
    RED,
    SMALL,
    TEAL,
    TEXT,
    dress,
    new_figure,
)
from triscale.storage import atomic_path

COLOURS: Final = (RED, BLUE, GREEN, PURPLE, OCHRE, TEAL)
FORMATS: Final = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True)
class Bar:
    """One network in one engine."""

    network: str
    engine: str
    milliseconds: float
    """Middle of one batch."""
    low_ms: float
    high_ms: float
    """Quartiles."""


def draw_speeds(bars: Sequence[Bar], path: Path, *, title: str) -> None:
    """Write the chart to `path` (.png, .svg or .pdf), whole or not at all; times are on a logarithmic axis.

    Raises ValueError for another kind of file.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"a chart is a file {', '.join(FORMATS)}, not {path.name}")
    networks = list(dict.fromkeys(bar.network for bar in bars))
    engines = list(dict.fromkeys(bar.engine for bar in bars))
    height = 0.8 / len(engines)
    figure = new_figure((8.0, 1.4 + len(networks) * (0.35 + 0.22 * len(engines))), dpi=150)
    axes = figure.subplots()
    for number, engine in enumerate(engines):
        rows = [bar for bar in bars if bar.engine == engine]
        places = [networks.index(bar.network) + (number - (len(engines) - 1) / 2) * height for bar in rows]
        widths = [bar.milliseconds for bar in rows]
        errors = [[bar.milliseconds - bar.low_ms for bar in rows], [bar.high_ms - bar.milliseconds for bar in rows]]
        axes.barh(
            places, widths, height * 0.9, color=COLOURS[number % len(COLOURS)], label=engine, xerr=errors, ecolor=QUIET
        )
        for place, bar in zip(places, rows, strict=True):
            axes.annotate(
                f"{bar.milliseconds:.3g}", (bar.high_ms, place), (4, 0), textcoords="offset points", va="center",
                fontsize=SMALL - 1.5, color=INK,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_yticks(range(len(networks)), networks)
    axes.invert_yaxis()
    dress(axes, across="milliseconds, middle and quartiles", up="")
    axes.grid(visible=False, axis="y")
    axes.set_title(title, loc="left", color=INK, fontsize=TEXT, fontweight="bold", parse_math=False, pad=26)
    axes.legend(
        frameon=False, fontsize=SMALL, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(engines),
        borderaxespad=0.2, handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))
