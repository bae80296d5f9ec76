"""What a person sees of a run while it goes on."""

import json as json_format
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.options import WIDTH
from triscale.cli.train_pace import Pace, about, clock
from triscale.cost import Precision, network_cost, training_memory

if TYPE_CHECKING:
    from rich.console import RenderableType

    from triscale.train.recipe import Recipe
    from triscale.train.resources import Resources

Watch = Callable[[str, int, dict[str, Any]], None]

NAMED = 5
"""Broken images told of one by one; the log names all."""
REDRAWN_EVERY_S = 0.2
ESTIMATED_AFTER_S = 10.0
"""A run's whole time is told after so long, where it takes much longer than that."""
COLUMNS = "epoch   loss {exact:>7}  held out:{score:>6} {second:>7}      images/s    elapsed"
TITLES = {
    "top1": ("top-1", "top-1", "top-5"),
    "mean-per-class": ("top-1", "class", "top-1"),
    "map": ("exact", "mAP", ""),
}
"""By metric: what the columns of training images and of held-out images show."""

HELD_OUT = {"map": "", "mean_per_class": "top1", "top1": "top5"}
"""What the log may say of held-out images, and the second column beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is being trained, on what."""

    path: Path
    recipe: "Recipe"
    resources: "Resources"
    recipe_name: str | None
    """As the command line named it, None where a resumed run's folder holds it."""
    data: str
    classes: int
    validation_images: int


def header(subject: Subject, started: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a run is about to do, in names and values; `started` is the event's figures."""
    recipe = subject.recipe
    spec, cost = recipe.network, network_cost(recipe.network)
    group = started["batch_norm_images"]
    memory = training_memory(
        spec,
        batch_size=group,
        precision=Precision(started["precision"]),
        optimizer_slots=1 if recipe.optimizer.kind == "sgd" else 2,
        ema=recipe.ema_decay > 0,
    )
    processes = f" in each of {started['processes']} processes" if started["processes"] > 1 else ""
    named = f"{subject.recipe_name}, " if subject.recipe_name else ""
    parts = [f"{started['images']:,} images to train on", f"{started['held_out']:,} held out"]
    return [
        (
            "data",
            f"{subject.data}: {subject.classes:,} classes, {', '.join(parts)}, "
            f"{subject.validation_images:,} for validation",
        ),
        (
            "network",
            f"{spec.name}, {cost.params / 1e6:.2f} M params, {cost.macs / 1e6:,.1f} M macs at "
            f"{spec.resolution} x {spec.input_channels}",
        ),
        (
            "recipe",
            f"{named}{recipe.epochs:,} epochs of {started['steps_per_epoch']:,} updates, "
            f"{recipe.batch_size:,} images each, {recipe.optimizer.kind}",
        ),
        (
            "device",
            f"{started['device']}{processes}, {group} images at once, about {memory.total_bytes / 2**30:.2f} GiB"
            f"{_kernels(subject, started['device'])}",
        ),
        ("run folder", str(subject.path)),
    ]


def _kernels(subject: Subject, device: str) -> str:
    """Why the compiled kernels stay idle on a CPU; nothing where they work, or were not wanted."""
    from triscale.models.fused import why_not_fused

    resources = subject.resources
    if device != "cpu" or not resources.fused or resources.compile:
        return ""
    reason = why_not_fused()
    return "" if reason is None else f"; slower than it could be: {reason}"


def epoch_line(pace: Pace, values: Mapping[str, Any], *, elapsed_s: float) -> str:
    """One line for a finished epoch, in the columns of COLUMNS; a star marks the best so far."""
    held_out, train = " " * 26, values.get("train_top1", values.get("train_exact_match", float("nan")))
    metric = next((name for name in HELD_OUT if f"minival_{name}" in values), None)
    if metric is not None:
        star = "*" if values.get("best_epoch") == values["epoch"] else " "
        second = f"{values[f'minival_{HELD_OUT[metric]}']:7.2%}" if HELD_OUT[metric] else " " * 7
        held_out = f"{values[f'minival_{metric}']:16.2%} {second} {star}"
    rate = pace.epoch_images_per_s
    speed = f"{rate:,.0f}" if rate is not None else ""
    return (
        f"{values['epoch']:5} {values['train_loss']:6.3f} {train:7.2%} {held_out:26} {speed:>11} {clock(elapsed_s):>10}"
    )


def _rolled_back(step: int, values: Mapping[str, Any]) -> str:
    return (
        f"the loss was not finite at update {values['failed_at']:,}: back to update {step:,}, learning rate x "
        f"{values['rate_factor']:g} from update {values['from_step']:,} on"
    )


SENTENCES: dict[str, Callable[[int, Mapping[str, Any]], str]] = {
    "start": lambda _, values: f"held out, before any update: {values['best_minival']:.2%}",
    "ended early": lambda _, values: (
        f"ended after epoch {values['epoch']:,}: the held-out images were best served after epoch "
        f"{values['best_epoch']:,}"
    ),
    "resumed": lambda step, _: f"resumed after update {step:,}",
    "damaged checkpoint": lambda _, values: f"damaged checkpoint: {values['message']}",
    "broken image": lambda _, values: f"broken image: {values['image']}: {values['reason']}",
    "rolled back": _rolled_back,
}
"""Events that a person should read of, as one line each."""

PREPARATIONS = {"features": "computing features", "head": "fitting the classifier"}
"""What is done before a run begins, told by how much of it is done."""


@dataclass(slots=True)
class Teller:
    """Turns events into lines, and hands each to `say`."""

    subject: Subject
    say: Callable[[str], None]
    now_s: Callable[[], float] = time.monotonic
    pace: Pace = field(init=False)
    headed: bool = False
    estimated: bool = False
    prepared: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.pace = Pace(epochs=self.subject.recipe.epochs, batch_size=self.subject.recipe.batch_size)

    def hear(self, event: str, step: int, values: dict[str, Any]) -> None:
        """Take in one event and say what there is to say of it."""
        now_s = self.now_s()
        self.pace.hear(event, step, values, now_s=now_s)
        if event == "started":
            for name, value in header(self.subject, values):
                lines = textwrap.wrap(value, WIDTH - 12, break_on_hyphens=False, break_long_words=False)
                for index, line in enumerate(lines):
                    self.say(f"{'' if index else name:12}{line}")
        elif event == "step":
            self._estimate(now_s)
        elif event in PREPARATIONS:
            self._tell_preparation(event, values)
        elif event == "epoch":
            self._tell_epoch(values, now_s)
        elif event in SENTENCES:
            self._tell(event, step, values)

    def _tell_epoch(self, values: dict[str, Any], now_s: float) -> None:
        if not self.headed:
            self.headed = True
            exact, score, second = TITLES[self.subject.recipe.metric]
            self.say(COLUMNS.format(exact=exact, score=score, second=second))
        self.say(epoch_line(self.pace, values, elapsed_s=self.pace.elapsed_s(now_s)))
        self.pace.begin_epoch()

    def _tell_preparation(self, event: str, values: dict[str, Any]) -> None:
        if event == "features" and event not in self.prepared:
            self.say(f"{'head':12}fitted first, to the features of {values['total']:,} images")
        self.prepared.add(event)

    def _tell(self, event: str, step: int, values: dict[str, Any]) -> None:
        if event == "broken image" and len(self.pace.broken) > NAMED:
            if len(self.pace.broken) == NAMED + 1:
                self.say(f"more broken images: {self.subject.path / 'log.jsonl'} names them")
            return
        self.say(SENTENCES[event](step, values))

    def _estimate(self, now_s: float) -> None:
        left_s = self.pace.left_s(now_s)
        if self.estimated or left_s is None or self.pace.elapsed_s(now_s) < ESTIMATED_AFTER_S:
            return
        self.estimated = True
        if left_s > ESTIMATED_AFTER_S:
            self.say(f"{'time':12}about {about(left_s)} to go at this rate")


def bar(pace: Pace, *, now_s: float) -> "RenderableType":
    """Two lines that fit 80 columns: how far and how fast, and how well."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    left_s = pace.left_s(now_s)
    rate = f"{pace.images_per_s:,.0f} images/s" if pace.images_per_s is not None else "starting"
    left = f"{clock(left_s)} left" if left_s is not None else ""
    first = Table.grid(expand=True, padding=(0, 1))
    for ratio in (None, 1, None, None, None):
        first.add_column(ratio=ratio, no_wrap=True)
    first.add_row(
        Text(f"epoch {pace.epoch}/{pace.epochs}", style="bold"),
        ProgressBar(total=1.0, completed=pace.fraction),
        f"{pace.fraction:.0%}",
        Text("judging held-out images" if pace.judging and pace.fraction < 1 else rate, style="cyan"),
        left,
    )
    words = [
        f"loss {pace.loss:.3f}" if pace.loss is not None else "",
        f"top-1 {pace.top1:.1%}" if pace.top1 is not None else "",
        f"rate {pace.learning_rate:.2g}" if pace.learning_rate is not None else "",
        f"best held out {pace.best_score:.2%}" if pace.best_score is not None else "",
        f"waiting {pace.waiting:.0%}" if pace.waiting is not None else "",
    ]
    return Group(first, Text("  ".join(filter(None, words)), no_wrap=True, overflow="ellipsis", style="dim"))


def preparation_bar(event: str, values: Mapping[str, Any]) -> "RenderableType":
    """One line: what is done before the run, and how far it is."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(expand=True, padding=(0, 1))
    for ratio in (None, 1, None):
        line.add_column(ratio=ratio, no_wrap=True)
    counted = f"{values['done']:,}/{values['total']:,}"
    line.add_row(Text(PREPARATIONS[event]), ProgressBar(total=values["total"], completed=values["done"]), counted)
    return line


@contextmanager
def _on_terminal(subject: Subject) -> Iterator[Teller]:
    """Lines above a bar on stderr, redrawn by this thread alone: reading processes may be forked from it."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        drawn_s = 0.0

        def say(line: str) -> None:
            console.print(Text(line), soft_wrap=True)

        class Shown(Teller):
            def hear(self, event: str, step: int, values: dict[str, Any]) -> None:
                nonlocal drawn_s
                super().hear(event, step, values)
                now_s = self.now_s()
                if event in PREPARATIONS:
                    live.update(preparation_bar(event, values), refresh=True)
                elif event != "step" or self.pace.judging or now_s - drawn_s > REDRAWN_EVERY_S:
                    drawn_s = now_s
                    live.update(bar(self.pace, now_s=now_s), refresh=True)

        yield Shown(subject, say)


@contextmanager
def _plain(subject: Subject) -> Iterator[Teller]:
    yield Teller(subject, lambda line: print(line.rstrip(), file=sys.stderr, flush=True))


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """With numbers that are not finite as text, since JSON has none."""
    return {
        key: str(value) if isinstance(value, float) and not isfinite(value) else value for key, value in row.items()
    }


@contextmanager
def shown(subject: Subject, *, json: bool) -> Iterator[Watch]:
    """A function that tells what happens in a run.

    With `json` the events go to stdout, one JSON object a line. Otherwise lines to read go to stderr, with a bar
    beneath them where that is a terminal.
    """
    if json:

        def tell(event: str, step: int, values: dict[str, Any]) -> None:
            if event != "step" and event not in PREPARATIONS:
                print(
                    json_format.dumps(_finite({"event": event, "step": step, **values}), ensure_ascii=False), flush=True
                )

        yield tell
        return
    with (_on_terminal if sys.stderr.isatty() else _plain)(subject) as teller:
        yield teller.hear
