"""What was asked of a run and what it found, in words and figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from triscale.arch.codec import decode
from triscale.arch.spec import NetworkSpec
from triscale.cost import network_cost
from triscale.report.page.records import Broken, Costs, Interval, Run
from triscale.scaling.quantities import Unit, format_quantity

TITLES: Final = {
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "mean_per_class": "Mean per class",
    "map": "mAP",
    "micro_f1": "F1, micro",
    "macro_f1": "F1, macro",
}
MOST_BROKEN: Final = 200
"""Broken images that are named."""


class Fact(NamedTuple):
    """A name and what belongs to it."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A headline."""

    title: str
    value: str
    interval: Interval | None = None
    note: str = ""


def asked(run: Run) -> tuple[Fact, ...]:
    """Data, network, recipe and budget."""
    return tuple(Fact(name, value) for name, value in _asked(run) if value)


def _asked(run: Run) -> Iterator[tuple[str, str]]:
    yield "Data", _data(run)
    if (spec := network(run)) is not None:
        cost = network_cost(spec)
        size = f"{spec.resolution} × {spec.input_channels}"
        yield "Network", f"{spec.name}, {amount(cost.params)} params, {amount(cost.macs)} multiply-adds at {size}"
    elif run.evaluation is not None:
        yield "Network", run.evaluation.network
    provenance = run.model.provenance if run.model is not None else {}
    recipe = run.recipe if run.recipe is not None else provenance.get("recipe")
    yield "Starts from", origin(run) or ""
    probe = provenance.get("probe")
    yield "Recipe", _recipe(recipe) if isinstance(recipe, dict) else _probe(probe) if isinstance(probe, dict) else ""
    start = provenance.get("start")
    budget = provenance.get("budget") or (start.get("budget") if isinstance(start, dict) else None)
    yield "Budget", budget if isinstance(budget, str) else ""
    yield "Trained", _trained(run.log)
    made = [f"Triscale {provenance['triscale']}" if isinstance(provenance.get("triscale"), str) else ""]
    made.append(f"torch {provenance['torch']}" if isinstance(provenance.get("torch"), str) else "")
    yield "Made with", ", ".join(filter(None, made))


def origin(run: Run) -> str | None:
    """What the trained weights are called that a run started from; None where it started from random ones."""
    start = run.recipe.get("start") if run.recipe is not None else None
    if start is None and run.model is not None:
        start = run.model.provenance.get("from")
    if isinstance(start, dict):
        start = start.get("release") or start.get("source")
    # Behind the last @ stands a digest.
    return start.rpartition("@")[0] or start if isinstance(start, str) else None


def _probe(probe: Mapping[str, Any]) -> str:
    parts = ["a linear classifier on the network's features"]
    if _whole(probe.get("images")):
        parts.append(f"{probe['images']:,} images")
    if isinstance(probe.get("regularisation"), int | float):
        parts.append(f"regularisation {probe['regularisation']:.3g}")
    if _whole(probe.get("folds")):
        parts.append(f"by {probe['folds']}-fold cross-validation")
    return ", ".join(parts)


def _data(run: Run) -> str:
    name = run.data.name if run.data is not None else run.evaluation.data if run.evaluation is not None else ""
    classes = run.evaluation.class_names if run.evaluation is not None else run.model.class_names if run.model else ()
    started = next((row for row in run.log if row["event"] == "started"), {})
    parts = [name, f"{len(classes):,} classes" if classes else ""]
    if _whole(started.get("images")):
        parts.append(f"{started['images']:,} images to train on")
    if _whole(started.get("held_out")) and started["held_out"]:
        parts.append(f"{started['held_out']:,} held out")
    if run.evaluation is not None:
        parts.append(f"{run.evaluation.images:,} for {run.evaluation.part}")
    return ", ".join(filter(None, parts))


def _recipe(recipe: Mapping[str, Any]) -> str:
    optimizer = recipe.get("optimizer")
    kind = optimizer.get("kind") if isinstance(optimizer, dict) else None
    parts = [
        f"{recipe['epochs']} epochs" if _whole(recipe.get("epochs")) else "",
        f"batches of {recipe['batch_size']:,}" if _whole(recipe.get("batch_size")) else "",
        kind if isinstance(kind, str) else "",
        f"seed {recipe['seed']}" if _whole(recipe.get("seed")) else "",
    ]
    return ", ".join(filter(None, parts))


def _trained(log: Sequence[Mapping[str, Any]]) -> str:
    """How long and on what; pauses of a resumed run are not counted."""
    parts = []
    seconds, before = 0.0, None
    for row in log:
        time_s = row.get("time_s")
        if isinstance(time_s, int | float):
            if before is not None and row["event"] != "resumed":
                seconds += max(0.0, time_s - before)
            before = time_s
    if seconds > 0:
        parts.append(duration(seconds))
    started = next((row for row in log if row["event"] == "started"), {})
    if isinstance(started.get("device"), str):
        parts.append(f"on {started['device']}")
    epochs = [row for row in log if row["event"] == "epoch"]
    if epochs and _whole(epochs[-1].get("step")):
        parts.append(f"{epochs[-1]['step']:,} updates")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """As people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def network(run: Run) -> NetworkSpec | None:
    """The network of the recipe, else of the model file. Raises ValueError where it makes no sense."""
    if run.recipe is not None and "network" in run.recipe:
        return decode(NetworkSpec, run.recipe["network"], where="recipe.json: network")
    if run.model is None or not isinstance(run.model.spec, dict):
        return None
    spec = {key: value for key, value in run.model.spec.items() if key not in ("format", "version")}
    return decode(NetworkSpec, spec, where="model.safetensors: spec")


def figures(run: Run) -> tuple[Figure, ...]:
    """Headlines, the metric of the data first; what the log says where nothing was judged."""
    found = run.evaluation
    if found is None:
        last: dict[str, Any] = next((row for row in reversed(run.log) if row["event"] == "validation"), {})
        return tuple(
            Figure(title=title, value=f"{last[key]:.1%}", note="validation, as the log says")
            for name, title in TITLES.items()
            if isinstance(last.get(key := f"validation_{name}"), int | float)
        )
    metric = found.metric.replace("-", "_")
    order = sorted(found.scores, key=lambda name: name != metric)
    shown = [
        Figure(title=TITLES.get(name, name), value=f"{found.scores[name].value:.1%}", interval=found.scores[name])
        for name in order
        # Of few classes, the first five are most of them.
        if not (name == "top5" and len(found.classes) <= 5)
    ]
    if found.calibration is not None:
        shown.append(
            Figure(
                title="Calibration error",
                value=f"{found.calibration.ece:.1%}",
                note=f"{found.calibration.ece_after:.1%} at temperature {found.calibration.temperature:.2f}",
            )
        )
    if run.costs is not None and (own := next((row for row in run.costs.rows if row.chosen), None)) and own.latency_ms:
        shown.append(
            Figure(title="Latency", value=milliseconds(own.latency_ms), note=f"an image, {threads(run.costs)}")
        )
    return tuple(shown)


def threads(costs: Costs) -> str:
    """On how many cores latency was measured."""
    return "1 CPU thread" if costs.threads == 1 else f"{costs.threads} CPU threads"


def broken_images(run: Run) -> tuple[Broken, ...]:
    """Each image that could not be read, once: those of training, then those of the evaluation."""
    found = {
        str(row["image"]): str(row.get("reason", "cannot be read"))
        for row in run.log
        if row["event"] == "broken image" and "image" in row
    }
    if run.evaluation is not None:
        found |= {each.image: each.reason for each in run.evaluation.broken}
    return tuple(Broken(image, reason) for image, reason in found.items())


def amount(count: int) -> str:
    """5.29M."""
    return format_quantity(count, Unit.COUNT)


def memory(size_bytes: int) -> str:
    """21.4MiB."""
    return format_quantity(size_bytes, Unit.BYTES)


def milliseconds(value: float) -> str:
    """Three figures."""
    return f"{value:.3g} ms"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
