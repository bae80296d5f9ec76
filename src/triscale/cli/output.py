"""What verbs print: tables that fit 80 columns, plain when piped, and JSON."""

import json
import sys
from typing import TYPE_CHECKING, Any

from triscale.cli.options import WIDTH

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_THOUSANDS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_BINARY = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def _significant(value: float) -> str:
    """Three significant digits, more where the whole part has more; never an exponent."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def short_count(count: float) -> str:
    """A number as people say it: 5.29M, 386M, 37.7G."""
    for unit, letter in _THOUSANDS:
        if count >= 0.9995 * unit:
            return _significant(count / unit) + letter
    return f"{count:g}"


def short_bytes(count: float) -> str:
    """Bytes in binary units: 20.2 MiB."""
    for unit, name in _BINARY:
        if count >= 0.9995 * unit:
            return f"{_significant(count / unit)} {name}"
    return f"{count:g} bytes"


def print_json(data: Any) -> None:
    """`data` as indented JSON."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def console() -> "Console":
    """Where tables go: colours on a terminal only, and nothing cut off when piped."""
    from rich.console import Console

    return Console(
        highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH, soft_wrap=False
    )


def table(*columns: str, left: int = 1) -> "Table":
    """An empty table: the first `left` columns read from the left, numbers line up at the right.

    Columns never wrap or lose characters; a wider table than the terminal is the terminal's to wrap.
    """
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        made.add_column(name, justify="left" if index < left else "right", no_wrap=True)
    return made


def print_table(made: "Table") -> None:
    """Print `made` as wide as it needs to be."""
    where = console()
    where.width = max(where.width, where.measure(made).maximum)
    where.print(made)
