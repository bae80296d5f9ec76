"""The command lines by which a run can be made again and used."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from triscale.arch.spec import NetworkSpec
from triscale.arch.zoo import get_network, network_names
from triscale.report.page.facts import network, origin
from triscale.report.page.records import Run


class Command(NamedTuple):
    """What a command line does, and the line."""

    what: str
    line: str


def commands(run: Run, folder: Path) -> tuple[Command, ...]:
    """In the order in which they are usually wanted; a folder without a model or data has fewer."""
    found: list[Command] = []
    if run.model is not None:
        model = ("--model", str(folder / "model.safetensors"))
        found += [
            Command("Classify an image", _line("predict", "photo.jpg", *model)),
            Command("Show where the network looks", _line("explain", "photo.jpg", *model)),
        ]
        if (data := _data(run)) is not None:
            found.append(Command("Judge it again", _line("evaluate", *data, *model)))
        if _published(network(run)):
            export = ("convert", str(folder / "model.safetensors"), "--to", "timm")
            line = _line(*export, "-o", str(folder / "model-timm.safetensors"))
            found.append(Command("Export the weights, here to timm", line))
    if (again := reproduction(run, folder)) is not None:
        found.append(Command("Reproduce this run", again))
    found.append(Command("Write this page anew", _line("report", str(folder))))
    return tuple(found)


def judging(run: Run, folder: Path) -> str | None:
    """The line that writes the evaluation into the run folder; None without a model or data."""
    data = _data(run)
    if run.model is None or data is None:
        return None
    again = ("--force",) if run.evaluation is not None else ()
    return _line("evaluate", *data, "--model", str(folder / "model.safetensors"), "-o", str(folder), *again)


def _published(spec: NetworkSpec | None) -> bool:
    """Whether other libraries have this network: one of the zoo, up to images and classes."""
    if spec is None or spec.name not in network_names():
        return False
    known = get_network(spec.name)
    return spec == replace(known, resolution=spec.resolution, classes=spec.classes, input_channels=spec.input_channels)


def reproduction(run: Run, folder: Path) -> str | None:
    """The line that makes the run again in another folder; None where it is not known."""
    data = _data(run)
    if data is None:
        return None
    again = ("-o", f"{folder}-again")
    start = origin(run)
    if run.recipe is None:
        probed = run.model is not None and "probe" in run.model.provenance
        return _line("finetune", *data, "--from", start, "--probe", *again) if start is not None and probed else None
    recipe = ("--recipe", str(folder / "recipe.json"))
    if start is not None:
        return _line("finetune", *data, "--from", start, *recipe, *again)
    return _line("train", *data, *recipe, *again)


def _data(run: Run) -> tuple[str, ...] | None:
    source = run.data
    if source is None:
        return None
    # Names may begin with a dash; a path that says so cannot be taken for an option.
    name = f"./{source.name}" if source.name.startswith("-") else source.name
    fraction = () if source.validation_fraction == 0.2 else ("--validation-fraction", f"{source.validation_fraction:g}")
    root = () if source.root is None else ("--root", source.root)
    return (name, *fraction, *root)


def _line(*words: str) -> str:
    return shlex.join(("triscale", *words))
