"""What a person sees of a study while it runs: what is being trained, what is done, the best so far, the time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from triscale.cli.train_pace import about, clock
from triscale.cost import network_cost

if TYPE_CHECKING:
    from rich.console import RenderableType

    from triscale.search.planner import Planner, Trial
    from triscale.search.run import Event

LATEST = 6
"""Finished trials that the live table shows."""
REDRAWN_EVERY_S = 0.5


@dataclass(slots=True)
class Progress:
    """What is known of a study that runs."""

    planner: "Planner"
    total: int
    """Trials that are expected."""
    seconds: "Callable[[Trial], float]"
    """What a trial takes."""
    slots: int
    done: int = 0
    failed: int = 0
    left_s: float = 0.0
    """Seconds of training that are expected still to begin or end, on one slot."""
    running: "dict[int, tuple[Trial, float]]" = field(default_factory=dict)
    latest: "list[Trial]" = field(default_factory=list)
    best: "Trial | None" = None

    def hear(self, event: "Event", trial: "Trial") -> str:
        """Take note, and return a line that tells a person; empty where nothing needs telling."""
        name = self.name(trial)
        match event.value:
            case "began" | "resumed":
                self.running[trial.id] = (trial, time.monotonic())
                return "" if event.value == "began" else f"going on with {name}"
            case "lost":
                self.running.pop(trial.id, None)
                return f"the process of {name} died; it is run again"
        self.running.pop(trial.id, None)
        self.latest = [*self.latest, trial][-LATEST:]
        if event.value == "failed":
            self.failed += 1
            return f"{name} failed: {trial.error}"
        self.count(trial)
        assert trial.result is not None
        shared = f", shared with trial {trial.same_as}" if trial.same_as is not None else ""
        taken = "" if shared else f" in {clock(trial.result.seconds)}"
        star = " *" if self.best is trial else ""
        return f"{self.done + self.failed:4}/{self.total}  {name}: {trial.result.score:.2%}{taken}{shared}{star}"

    def count(self, trial: "Trial") -> None:
        """Add a finished trial."""
        self.done += 1
        if trial.same_as is None:
            self.left_s = max(0.0, self.left_s - self.seconds(trial))
        if self.best is None or (trial.value or 0.0) > (self.best.value or 0.0):
            self.best = trial

    def name(self, trial: "Trial") -> str:
        """Network and seed."""
        job = self.planner.job(trial.params)
        macs = network_cost(job.network).macs
        epochs = f", {job.epochs} epoch{'s' * (job.epochs > 1)}" if job.epochs is not None else ""
        return f"{job.network.name} ({macs / 1e6:.2f} M macs), seed {job.seed}{epochs}"

    @property
    def remaining_s(self) -> float:
        """Until the end, by the pace measured before."""
        now = time.monotonic()
        under_way = sum(min(now - began_s, self.seconds(trial)) for trial, began_s in self.running.values())
        return max(0.0, self.left_s - under_way) / self.slots


def _picture(progress: Progress, began_s: float) -> "RenderableType":
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    from triscale.cli.output import table

    now = time.monotonic()
    rows = table("trial", "network", "seed", "macs", "top-1", "time", left=2)
    for trial in progress.latest:
        job, score = progress.planner.job(trial.params), "failed"
        if trial.result is not None:
            score = f"{trial.result.score:.2%}" + ("*" if progress.best and progress.best.id == trial.id else " ")
        taken = "" if trial.result is None or trial.same_as is not None else clock(trial.result.seconds)
        macs = f"{network_cost(job.network).macs / 1e6:.2f}M"
        rows.add_row(str(trial.number), job.network.name, str(job.seed), macs, score, taken)
    for trial, started_s in progress.running.values():
        job = progress.planner.job(trial.params)
        macs = f"{network_cost(job.network).macs / 1e6:.2f}M"
        taken = f"{clock(now - started_s)} of {clock(progress.seconds(trial))}"
        rows.add_row(str(trial.number), job.network.name, str(job.seed), macs, "...", taken, style="cyan")
    ended = progress.done + progress.failed
    parts = [f"{ended} of {progress.total} trials", f"{clock(now - began_s)} so far"]
    parts.append(f"about {about(progress.remaining_s)} left")
    if progress.best is not None and progress.best.result is not None:
        parts.append(f"best {progress.best.result.score:.2%} (trial {progress.best.number})")
    bar = ProgressBar(total=max(1, progress.total), completed=min(ended, progress.total), width=60)
    # A bar by itself does not end its line.
    return Group(rows, Padding(bar), Text(", ".join(parts)))


@contextmanager
def shown(progress: Progress, *, quiet: bool) -> "Iterator[Callable[[Event, Trial], None]]":
    """A function that is told of every trial: a live table on a terminal, else a line for each that ends.

    Nothing with `quiet`, whose standard output is for machines.
    """
    if quiet:

        def note(event: "Event", trial: "Trial") -> None:
            progress.hear(event, trial)

        yield note
        return
    if not sys.stdout.isatty():

        def say(event: "Event", trial: "Trial") -> None:
            if line := progress.hear(event, trial):
                print(line, flush=True)

        yield say
        return
    from rich.console import Console
    from rich.live import Live

    began_s, console = time.monotonic(), Console(highlight=False)
    # Drawn by rich's own thread; it reads the numbers as they stand.
    with Live(
        get_renderable=lambda: _picture(progress, began_s),
        console=console,
        refresh_per_second=1 / REDRAWN_EVERY_S,
    ):

        def tell(event: "Event", trial: "Trial") -> None:
            line = progress.hear(event, trial)
            if line and event.value != "done":
                console.print(line)

        yield tell
