"""What verbs print: tables that fit 80 columns, plain when piped, and JSON."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.options import WIDTH

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_json(data: Any) -> None:
    """`data` as indented JSON."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def check_output(path: Path, suffix: str, *, force: bool) -> None:
    """Raise ValueError, before any work is done, where a verb could not or should not write `path`."""
    if path.suffix.lower() != suffix:
        raise ValueError(f"cannot write {path}: its name must end in {suffix}")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    if path.exists() and not force:
        raise ValueError(f"{path} exists; --force overwrites it")


def console() -> "Console":
    """Where tables go: colours on a terminal only, and nothing cut off when piped."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH, soft_wrap=False)


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
