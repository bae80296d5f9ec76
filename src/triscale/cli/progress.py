"""A bar for whatever takes longer than a person likes to wait without a sign."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 2.0
"""Work that is done sooner shows no bar."""


def watched(items: Iterable[T], what: str, *, total: int) -> Iterator[T]:
    """`items`, with a bar on stderr while they come, where stderr is a terminal.

    Whoever prints the items to a terminal as they come needs no bar: leave it out there.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    started_s = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, visible=False)
        for item in items:
            bar.update(task, advance=1, visible=time.monotonic() - started_s > PATIENCE_S)
            yield item


@contextmanager
def bars(titles: Mapping[str, str]) -> Iterator[Callable[[str, int, int], None]]:
    """A function that is told what is done, how much of it, and how much there is: a bar for each on a terminal.

    `titles` are what a person reads in place of the names.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    terminal = sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(titles.get(name, name), total=None)
            progress.update(tasks[name], completed=done, total=total)

        yield tell
