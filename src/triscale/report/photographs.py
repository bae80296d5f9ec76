"""A sheet of photographs with what each of several models says of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from triscale.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""One a model; Paul Tol's bright scheme, which colour-blind readers can tell apart."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's likeliest class."""

    model: str
    label: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """An image, uint8 (H, W, 3), with the answers of the models, in the same order for every photograph."""

    title: str
    image: npt.NDArray[np.uint8]
    answers: tuple[Answer, ...]


def _draw_title(axes: "Axes", title: str) -> None:
    # A cell of its own: constrained layout cuts the titles of images that fill their cell.
    axes.text(0, 0, title, fontsize=11, color="#333333")
    axes.set_axis_off()


def _draw_image(axes: "Axes", photograph: Photograph) -> None:
    axes.imshow(photograph.image)
    axes.set_axis_off()
    axes.set_anchor("W")


def _draw_answers(axes: "Axes", answers: Sequence[Answer]) -> None:
    rows = range(len(answers))
    bars = axes.barh(rows, [answer.probability for answer in answers], height=0.82, color=COLOURS[: len(answers)])
    for bar, answer in zip(bars, answers, strict=True):
        middle = bar.get_y() + bar.get_height() / 2
        # White on the bar where it is long enough to hold the words, dark beside it otherwise.
        inside = answer.probability > 0.75
        axes.text(
            0.015 if inside else answer.probability + 0.015,
            middle,
            f"{answer.label}  {answer.probability:.0%}",
            va="center",
            fontsize=10,
            color="white" if inside else "#333333",
        )
    axes.set(xlim=(0, 1), ylim=(len(answers) - 0.5, -0.5))
    axes.set_axis_off()


def draw_photographs(photographs: Sequence[Photograph], path: Path, *, columns: int = 3) -> None:
    """Write a PNG: every photograph with a bar for each model's likeliest class.

    Raises ValueError where there is no photograph to show.
    """
    if not photographs:
        raise ValueError("there is no photograph to draw")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = min(columns, len(photographs))
    rows = math.ceil(len(photographs) / columns)
    models = [answer.model for answer in photographs[0].answers]
    figure = Figure(figsize=(4.2 * columns, (3.2 + 0.36 * len(models)) * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3 * rows, columns, height_ratios=[0.2, 2.7, 0.4 * len(models)] * rows)
    for index, photograph in enumerate(photographs):
        row, column = divmod(index, columns)
        title, image, answers = (figure.add_subplot(grid[3 * row + part, column]) for part in range(3))
        _draw_title(title, photograph.title)
        _draw_image(image, photograph)
        _draw_answers(answers, photograph.answers)
    patches = [Patch(color=colour, label=model) for colour, model in zip(COLOURS, models, strict=False)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(models), frameon=False, fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80, facecolor="white")
