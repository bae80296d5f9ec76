"""Conducting a study from the command line: what it will cost, the trainings, and the files that tell of it."""

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.fitting_network import fitting_network, named_recipe
from triscale.cli.search_options import ASKED_FILE, RECORD_FILE, ExecutorKind, SearchOptions, deciding
from triscale.cli.search_view import Progress, shown
from triscale.cli.train_pace import about, clock
from triscale.cost import network_cost

if TYPE_CHECKING:
    from triscale.arch import NetworkSpec
    from triscale.evaluators import TrainingEvaluator
    from triscale.search.executors import Executor
    from triscale.search.job import Job
    from triscale.search.pace import Pace
    from triscale.search.planner import Planner, Trial
    from triscale.search.run import End

RESULTS_FILE = "results.json"
TRAININGS = "trainings"
PACE = "seconds per epoch"


def evaluator_of(options: SearchOptions, *, held_out: float | None) -> "tuple[NetworkSpec, TrainingEvaluator]":
    """The baseline as the recipe trains it, and what judges it and its relatives.

    Raises ValueError for a network, data or recipe that cannot be had.
    """
    from triscale.evaluators import JudgingData, TrainingEvaluator
    from triscale.train.distributed import own_device
    from triscale.train.resources import Resources
    from triscale.train.run_folder import DataSource

    assert options.data is not None
    if options.device is not None and options.executor is ExecutorKind.LOCAL:
        own_device(options.device)
    source = DataSource(name=options.data, validation_fraction=options.validation_fraction, root=options.root)
    judging = JudgingData(source=source, images=options.images, held_out=held_out)
    data = judging.open()
    spec = fitting_network(
        options.baseline, data, depth=options.depth, width=options.width, resolution=options.resolution
    )
    recipe = named_recipe(options.recipe, spec, data, options.data, options.settings)
    if len(data.train.labels) < recipe.batch_size:
        raise ValueError(
            f"batch_size {recipe.batch_size} is more than the {len(data.train.labels)} images to train on; "
            f"set batch_size={max(1, len(data.train.labels) // 10)} or so"
        )
    evaluator = TrainingEvaluator(recipe=recipe, data=judging, resources=Resources(device=options.device, workers=0))
    return recipe.network, evaluator


def executor_of(options: SearchOptions) -> "Executor":
    """Where trainings run. Raises ValueError where that cannot be reached."""
    if options.parallel is not None and options.parallel < 1:
        raise ValueError(f"--parallel must be at least 1, got {options.parallel}")
    if options.executor is ExecutorKind.RAY:
        from triscale.search.executors.ray import RayExecutor

        return RayExecutor(options.ray_address, slots=options.parallel, gpus=options.gpus)
    if options.ray_address is not None:
        raise ValueError("--ray-address needs --executor ray")
    from triscale.search.executors.local import LocalExecutor

    slots = options.parallel
    if slots is None and options.device is not None and options.device.startswith("cuda"):
        slots = 1
    return LocalExecutor(slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conducted:
    """A study, as far as it went."""

    trials: "tuple[Trial, ...]"
    end: "End"
    executor: str


def describe_plan(planner: "Planner", evaluator: "TrainingEvaluator") -> None:
    """What --dry-run shows: every distinct network, and how it is trained."""
    from triscale.cli.output import print_pairs, print_table, table

    jobs = list({job.key: job for job in planner.expected()}.values())
    rows = table("network", "macs", "params", "input", "trainings")
    names: dict[str, list[Job]] = {}
    for job in jobs:
        names.setdefault(job.network.name, []).append(job)
    for name, group in names.items():
        cost = network_cost(group[0].network)
        rows.add_row(
            name,
            f"{cost.macs / 1e6:.2f}M",
            f"{cost.params / 1e6:.3f}M",
            str(group[0].network.resolution),
            str(len(group)),
        )
    print_table(rows)
    recipe = evaluator.recipe
    print()
    print_pairs([("trainings", str(len(jobs))), ("recipe", f"{recipe.epochs} epochs, batches of {recipe.batch_size}")])


def conduct(
    options: SearchOptions,
    verb: str,
    planner: "Planner",
    evaluator: "TrainingEvaluator",
    *,
    folder: Path,
    part: str = "",
    executor: "Executor",
    deadline_s: float | None,
    later: "Sequence[Job]" = (),
) -> Conducted:
    """Run the study in `folder`, or go on with it; `part` tells several records of one folder apart.

    Says beforehand what it will cost, with what comes `later`, and leaves nothing half-written wherever it stops.
    """
    from triscale.search.record import open_record, sqlite_address
    from triscale.search.run import Deadline, run_study
    from triscale.storage import write_text

    address = options.storage or sqlite_address(folder / RECORD_FILE)
    name = f"{folder.name if options.storage else verb}{part}"
    asked = {"verb": verb, **deciding(options)}
    # A second part is begun by the command that resumes or ends the first.
    resume = options.resume or bool(part)
    with (
        _leaving_nothing(folder),
        open_record(address, name, planner, asked=asked, resume=resume) as record,
        _stops() as stop,
    ):
        pace = _pace(record.noted(PACE), planner, evaluator, executor, quiet=options.json)
        record.note(PACE, [list(pace.macs), list(pace.epoch_seconds)])
        write_text(folder / ASKED_FILE, json.dumps(_asked(options, verb), indent=2, ensure_ascii=False) + "\n")
        progress = _progress(planner, record.trials(), pace, executor.slots)
        if not options.json:
            _tell_cost(planner, progress, executor, options, later_s=sum(map(pace.seconds, later)) / executor.slots)
        with shown(progress, quiet=options.json) as tell:
            end = run_study(
                record,
                planner,
                evaluator,
                executor,
                folder=folder / TRAININGS,
                watch=tell,
                stop=lambda: stop[0] is not None,
                deadline=None if deadline_s is None else Deadline(at_s=deadline_s, seconds=pace.seconds),
            )
        if stop[0] is not None:
            print(f"stopped; go on with\n  triscale {verb} -o {shlex.quote(str(folder))} --resume", file=sys.stderr)
            raise SystemExit(128 + stop[0])
        return Conducted(trials=record.trials(), end=end, executor=executor.description)


def _pace(
    noted: Any, planner: "Planner", evaluator: "TrainingEvaluator", executor: "Executor", *, quiet: bool
) -> "Pace":
    """Measured at the beginning, on this machine; a study that goes on takes what was measured then."""
    from triscale.search.pace import Pace, measure_pace

    if noted is not None:
        macs, seconds = noted
        return Pace(tuple(macs), tuple(seconds))
    if not quiet and sys.stderr.isatty():
        print("measuring a few updates ...", file=sys.stderr, end="\r", flush=True)
    return measure_pace(planner.expected(), evaluator, executor)


def _progress(planner: "Planner", trials: "Sequence[Trial]", pace: "Pace", slots: int) -> Progress:
    expected = planner.expected()
    jobs = {job.key: job for job in expected}
    made = Progress(
        planner=planner,
        total=max(len(expected), len(trials)),
        seconds=lambda trial: pace.seconds(planner.job(trial.params)),
        slots=slots,
        left_s=sum(pace.seconds(job) for job in jobs.values()),
    )
    for trial in trials:
        if trial.state.value == "done":
            made.count(trial)
        elif trial.state.value == "failed":
            made.failed += 1
    return made


def _tell_cost(
    planner: "Planner", progress: Progress, executor: "Executor", options: SearchOptions, *, later_s: float
) -> None:
    from triscale.cli.output import print_paragraph

    keys = len({job.key for job in planner.expected()})
    hours = (progress.remaining_s + later_s) / 3600
    if progress.done == keys:
        print_paragraph(f"{keys} trainings, all of them done.")
        return
    done = f"{progress.done} of them done, " if progress.done else ""
    print_paragraph(
        f"{keys} trainings, {done}{executor.description}: about {about(progress.remaining_s)} "
        f"({progress.remaining_s / 3600:.2f} hours), measured from a few updates."
        + (f" Full trainings of the best take about {about(later_s)} after that." if later_s else "")
    )
    if options.max_hours is not None and hours > options.max_hours:
        print_paragraph(f"--max-hours {options.max_hours:g} ends it before; --resume goes on with it at any time.")
    print()


@contextmanager
def _stops() -> Iterator[list[int | None]]:
    """The first signal to stop, in a list; a second Ctrl-C does not wait."""
    found: list[int | None] = [None]

    def note(number: int, _frame: object) -> None:
        if found[0] is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        found[0] = number

    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def begin_folder(folder: Path) -> None:
    """Make the folder; `conduct` writes down what was asked for once trainings can begin."""
    from triscale.storage import remove_partial

    folder.mkdir(parents=True, exist_ok=True)
    remove_partial(folder)


def _asked(options: SearchOptions, verb: str) -> dict[str, Any]:
    return {"verb": verb.replace(" ", "_"), **deciding(options)}


@contextmanager
def _leaving_nothing(folder: Path) -> Iterator[None]:
    """Leave nothing behind where nothing was begun, so that the command may be given again, put right."""
    try:
        yield
    except BaseException:
        if not (folder / ASKED_FILE).exists():
            for path in folder.glob(f"{RECORD_FILE}*"):
                path.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
        raise


def write_results(
    options: SearchOptions,
    verb: str,
    folder: Path,
    parts: "Sequence[tuple[Planner, Conducted]]",
    summary: Any,
    *,
    baseline: str,
    kind: str,
) -> list[Path]:
    """Write results.json, the table of trials, the pictures and the page; returns what was written.

    `parts` are the studies of the folder, in their order; all but the last are complete.
    """
    from triscale.arch.codec import encode
    from triscale.report.search import draw, read_results, write_csv, write_page
    from triscale.storage import write_text

    last = parts[-1][1]
    trials: list[dict[str, Any]] = []
    for planner, conducted in parts:
        trials += _rows(planner, conducted.trials, first=len(trials))
    data = {
        "format": "triscale-search",
        "version": 1,
        "kind": kind,
        "command": command(options, verb),
        "data": options.data,
        "baseline": baseline,
        "machine": _machine(),
        "versions": _versions(),
        "date": datetime.now(UTC).date().isoformat(),
        "executor": last.executor,
        "training_hours": sum(row["seconds"] or 0.0 for row in trials if row["same_as"] is None) / 3600,
        "complete": last.end.value == "complete",
        "planned": max(len(trials), sum(len(planner.expected()) for planner, _ in parts)),
        "trials": trials,
        "summary": encode(summary),
    }
    path = folder / RESULTS_FILE
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    results = read_results(path)
    table = folder / "trials.csv"
    write_csv(results, table)
    return [path, table, *draw(results, folder), write_page(folder)]


def _rows(planner: "Planner", trials: "Sequence[Trial]", *, first: int) -> Iterator[dict[str, Any]]:
    """As results.json holds them; `first` is the number of the first."""
    for trial in trials:
        job, result = planner.job(trial.params), trial.result
        cost = network_cost(job.network)
        yield {
            "number": first + trial.number,
            "params": dict(trial.params),
            "network": {
                "name": job.network.name,
                "macs": cost.macs,
                "params": cost.params,
                "resolution": list(job.network.resolution),
            },
            "seed": job.seed,
            "epochs": job.epochs,
            "state": trial.state.value,
            "score": None if result is None else result.score,
            "images": None if result is None else result.images,
            "seconds": None if result is None else result.seconds,
            "value": trial.value,
            "error": trial.error,
            "same_as": None if trial.same_as is None else first + trial.same_as,
        }


def command(options: SearchOptions, verb: str) -> str:
    """The command line that makes the same study."""
    import dataclasses

    words = ["triscale", *verb.split()]
    settings: list[str] = []
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    for name, value in deciding(options).items():
        given = getattr(options, name)
        if given == defaults[name]:
            continue
        if name == "settings":
            settings = list(given)
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words += [str(item) for item in given] if _is_list(given) else [str(given)]
    # Settings come behind an option that takes one word, never behind one that takes several.
    return shlex.join([words[0], *words[1 : 1 + len(verb.split())], *settings, *words[1 + len(verb.split()) :]])


def _is_list(value: object) -> bool:
    return isinstance(value, tuple) and not hasattr(value, "_fields")


def _machine() -> str:
    import platform

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {platform.machine()}, {platform.system()}"


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    return {"triscale": version("triscale"), "torch": version("torch"), "python": platform.python_version()}


def deadline_of(options: SearchOptions) -> float | None:
    """When --max-hours is over, on the monotonic clock."""
    if options.max_hours is None:
        return None
    if not options.max_hours > 0:
        raise ValueError(f"--max-hours must be above 0, got {options.max_hours:g}")
    return time.monotonic() + 3600 * options.max_hours


def tell_files(folder: Path, paths: Sequence[Path], conducted: Conducted, verb: str, began_s: float) -> None:
    """Say at the end where things lie, and how to go on where something is left to do."""
    from triscale.cli.output import print_pairs

    print()
    pictures = [path.name for path in paths if path.suffix == ".png"]
    pairs = [("page", str(folder / "report.html"))]
    pairs += [("pictures", ", ".join(pictures))] if pictures else []
    pairs += [("results", f"{folder / RESULTS_FILE}, trials.csv"), ("took", clock(time.monotonic() - began_s))]
    if conducted.end.value != "complete":
        pairs.append(("unfinished", f"go on with: triscale {verb} -o {shlex.quote(str(folder))} --resume"))
    print_pairs(pairs)
