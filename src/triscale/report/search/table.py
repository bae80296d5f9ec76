"""What a table is, and its commonest cells."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from triscale.scaling.quantities import format_quantity

NOTHING: Final = "–"
"""Where there is no figure."""


class Cell(NamedTuple):
    """What stands in a table, and what it is sorted by where that differs."""

    text: str
    value: float | str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The first cell heads it."""

    cells: tuple[Cell, ...]
    badge: str = ""
    """Beside the first cell."""
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under titles."""

    key: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    folded: bool = False
    """Whether it opens only when asked for."""
    texts: tuple[int, ...] = ()
    """Columns that hold words, not figures."""


def count(number: int) -> Cell:
    """3.01M."""
    return Cell(format_quantity(number), number)


def per_cent(share: float | None, *, digits: int = 2) -> Cell:
    """91.20, or a dash."""
    return Cell(NOTHING) if share is None else Cell(f"{100 * share:.{digits}f}", share)


def mean_cell(mean: float | None, deviation: float | None) -> Cell:
    """Per cent, with the deviation where more than one score tells it."""
    if mean is None:
        return Cell(NOTHING)
    return Cell(f"{100 * mean:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}"), mean)
