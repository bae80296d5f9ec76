"""Maps side by side, as the paper's Figure 7: a row for each image, a column for each model; or a sheet of one's."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np

from triscale.data.box import Box
from triscale.data.pixels import Pixels
from triscale.explain.explanation import Explanation, View
from triscale.explain.files import QUALITY
from triscale.explain.overlay import COLOURS, overlay
from triscale.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: Final = (".png", ".jpg", ".pdf")
DPI: Final = 120
CELL: Final = 2.3
"""Width of a picture, in inches."""
GAP: Final = 0.08
TITLE: Final = 0.34
CAPTION: Final = 0.24
"""Height of a line of text below a picture."""
SCALE: Final = 0.62
"""Height of the colour scale with its words."""
NARROWEST: Final = 3.8
"""Width of a figure that holds the words of its scale."""
TALLEST: Final = 1.4
"""Height over width of the tallest picture shown as it is; a taller one is made narrower."""
_LETTERS: Final = 34
"""That fit under a picture."""
_INK: Final = "#222222"
_FAINT: Final = "#666666"


class Cell(NamedTuple):
    """A picture with the words below it."""

    picture: Pixels
    caption: str
    remark: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Pictures of one height."""

    cells: tuple[Cell, ...]

    @property
    def picture_height(self) -> float:
        """Inches."""
        return CELL * max(float(cell.picture.shape[0] / cell.picture.shape[1]) for cell in self.cells)

    @property
    def height(self) -> float:
        """Inches, with the words."""
        lines = 2 if any(cell.remark for cell in self.cells) else 1
        return self.picture_height + lines * CAPTION + GAP


def _shrunk(explanation: Explanation) -> tuple[Pixels, float]:
    """The picture about as large as it is shown, and the factor; a tiny one's pixels stay squares."""
    assert explanation.picture is not None
    height, width = explanation.picture.shape[:2]
    factor = 2 * CELL * DPI / max(width, height / TALLEST)
    factor = factor if factor < 1 else int(factor)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(explanation.picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
    return small.astype(np.uint8, copy=False), factor


def _on_canvas(picture: Pixels) -> Pixels:
    """A picture taller than `TALLEST` between white margins."""
    height, width = picture.shape[:2]
    margin = max(0, math.ceil(height / TALLEST) - width)
    padded = cv2.copyMakeBorder(
        picture, 0, 0, margin // 2, margin - margin // 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
    return padded.astype(np.uint8, copy=False)


def scaled_box(box: Box, factor: float, *, height: int, width: int) -> Box:
    """The box in a picture resized by `factor` to `height` and `width`, to the nearest pixel, of one at least."""
    top, left = min(round(box.top * factor), height - 1), min(round(box.left * factor), width - 1)
    bottom, right = round((box.top + box.height) * factor), round((box.left + box.width) * factor)
    return Box(top, left, max(1, bottom - top), max(1, right - left))


def shortened(text: str, letters: int = _LETTERS) -> str:
    """`text`, or its beginning and its end with an ellipsis between."""
    if len(text) <= letters:
        return text
    end = letters // 3
    return f"{text[: letters - end - 1]}…{text[-end:]}"


def _percent(probability: float) -> str:
    return f"{probability:.0%}" if probability >= 0.01 else "<1%"


def _cell(view: View, small: Pixels, factor: float, highest: float) -> Cell:
    box = scaled_box(view.box, factor, height=small.shape[0], width=small.shape[1])
    picture = overlay(small, view.values, box, highest=highest)
    share = _percent(view.label.probability)
    caption = f"{shortened(view.label.name, _LETTERS - len(share) - 2)}  {share}"
    if view.label.index == view.first.index:
        return Cell(_on_canvas(picture), caption)
    first = _percent(view.first.probability)
    return Cell(_on_canvas(picture), caption, f"says {shortened(view.first.name, _LETTERS - len(first) - 7)}  {first}")


def compared(explanation: Explanation) -> tuple[Cell, ...]:
    """The picture itself with its scale's highest value, then each model's view of it, all on that scale."""
    small, factor = _shrunk(explanation)
    views = (_cell(view, small, factor, explanation.highest) for view in explanation.views)
    itself = Cell(_on_canvas(small), shortened(Path(explanation.path).name), f"highest {explanation.highest:.3g}")
    return (itself, *views)


def titled(explanation: Explanation) -> Cell:
    """The first model's view, with the picture's name below its label."""
    small, factor = _shrunk(explanation)
    cell = _cell(explanation.views[0], small, factor, explanation.highest)
    return cell._replace(remark=shortened(Path(explanation.path).name))


def draw_comparison(rows: Sequence[Sequence[Cell]], models: Sequence[str], path: Path) -> None:
    """Write a figure: a row for each image as `compared` made it, under the names of the models.

    Raises ValueError where there is nothing to draw.
    """
    _draw(
        [Row(tuple(cells)) for cells in rows], ("", *models), path, "evidence for the class, up to each row's highest"
    )


def draw_sheet(cells: Sequence[Cell], path: Path, *, columns: int = 4) -> None:
    """Write a figure: the cells of `titled` one after another, `columns` in a row.

    Raises ValueError where there is nothing to draw.
    """
    columns = min(columns, len(cells)) or 1
    rows = [Row(tuple(cells[start : start + columns])) for start in range(0, len(cells), columns)]
    _draw(rows, ("",) * columns, path, "evidence for the class, up to each picture's highest")


def _draw(rows: Sequence[Row], titles: Sequence[str], path: Path, scale: str) -> None:
    if not rows:
        raise ValueError("there is no picture to draw")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heading = TITLE if any(titles) else GAP
    width = max(NARROWEST, len(titles) * (CELL + GAP) + GAP)
    height = heading + sum(row.height for row in rows) + SCALE
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    start = (width - len(titles) * (CELL + GAP) + GAP) / 2
    for column, title in enumerate(titles):
        _write(figure, start + column * (CELL + GAP) + CELL / 2, heading / 2, shortened(title, 28), size=11)
    top = heading
    for row in rows:
        _draw_row(figure, row, start, top)
        top += row.height
    _draw_scale(figure, top + 0.1, scale)
    kind = path.suffix[1:].lower()
    write = partial(figure.savefig, format=kind, dpi=DPI, facecolor="white")
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # Class names may be in letters that the font lacks; they show as boxes, which says enough.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        if kind == "jpg":
            write(temporary, pil_kwargs={"quality": QUALITY, "subsampling": 0})
        else:
            write(temporary)


def _write(figure: "Figure", x: float, y: float, text: str, *, size: float, colour: str = _INK) -> None:
    """Text around a point, in inches from the left and the top."""
    width, height = figure.get_size_inches()
    # A dollar sign would begin a formula.
    figure.text(x / width, 1 - y / height, text, size=size, color=colour, ha="center", va="center", parse_math=False)


def _draw_row(figure: "Figure", row: Row, start: float, top: float) -> None:
    width, height = figure.get_size_inches()
    for column, cell in enumerate(row.cells):
        left = start + column * (CELL + GAP)
        bottom = top + row.picture_height
        axes = figure.add_axes((left / width, 1 - bottom / height, CELL / width, row.picture_height / height))
        axes.imshow(cell.picture, interpolation="antialiased")
        axes.set_axis_off()
        axes.set_anchor("S")
        _write(figure, left + CELL / 2, bottom + 0.55 * CAPTION, cell.caption, size=8.5)
        if cell.remark:
            _write(figure, left + CELL / 2, bottom + 1.45 * CAPTION, cell.remark, size=7.5, colour=_FAINT)


def _draw_scale(figure: "Figure", top: float, words: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    width, height = figure.get_size_inches()
    long = min(CELL * 1.4, width - 1.5)
    axes = figure.add_axes(((width - long) / 2 / width, 1 - (top + 0.11) / height, long / width, 0.11 / height))
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), COLOURS), cax=axes, orientation="horizontal", ticks=[])
    bar.outline.set_visible(False)
    left, right = (width - long) / 2, (width + long) / 2
    _write(figure, left - 0.1, top + 0.055, "0", size=8, colour=_FAINT)
    _write(figure, right + 0.28, top + 0.055, "highest", size=8, colour=_FAINT)
    _write(figure, width / 2, top + 0.3, words, size=8, colour=_FAINT)
