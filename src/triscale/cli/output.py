"""What verbs print: tables that fit 80 columns, plain when piped, and JSON."""

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.options import WIDTH

if TYPE_CHECKING:
    from rich.table import Table

_WIDEST = 1 << 12
"""Columns that no table reaches."""


def print_json(data: Any) -> None:
    """`data` as indented JSON."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def check_output(path: Path, *, force: bool) -> None:
    """Raise ValueError, before any work is done, where a verb could not or should not write `path`."""
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    if path.exists() and not force:
        raise ValueError(f"{path} exists; --force overwrites it")


def table(*columns: str, left: int = 1) -> "Table":
    """An empty table: the first `left` columns read from the left, numbers line up at the right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        made.add_column(name, justify="left" if index < left else "right", no_wrap=True)
    return made


def print_table(made: "Table") -> None:
    """Print `made` as wide as it needs to be: nothing is cut off, and colours go to terminals only."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, width=_WIDEST)
    console.width = max(1, console.measure(made).maximum)
    with console.capture() as captured:
        console.print(made)
    for line in captured.get().splitlines():
        print(line.rstrip())


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and what belongs to them in two columns, long values wrapped."""
    rows = list(pairs)
    indent = " " * (max(len(name) for name, _ in rows) + 2)
    for name, value in rows:
        print(_fill(value, initial_indent=name.ljust(len(indent)), subsequent_indent=indent))


def print_paragraph(text: str) -> None:
    """Text wrapped to the width of help and tables."""
    print(_fill(text))


def _fill(text: str, *, initial_indent: str = "", subsequent_indent: str = "") -> str:
    """Paths and names stay whole, so that they can be copied."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=initial_indent,
        subsequent_indent=subsequent_indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
