"""The command lines by which a run can be made again and used."""

import shlex
from pathlib import Path
from typing import NamedTuple

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
        export = (
            "convert",
            str(folder / "model.safetensors"),
            "--to",
            "timm",
            "-o",
            str(folder / "model-timm.safetensors"),
        )
        found.append(Command("Export the weights, here to timm", _line(*export)))
    if (again := reproduction(run, folder)) is not None:
        found.append(Command("Reproduce this run", again))
    found.append(Command("Write this page anew", _line("report", str(folder))))
    return tuple(found)


def reproduction(run: Run, folder: Path) -> str | None:
    """The line that makes the run again in another folder; None where it is not known."""
    data = _data(run)
    if data is None:
        return None
    again = ("-o", f"{folder}-again")
    start = run.recipe.get("start") if run.recipe is not None else None
    if run.recipe is None:
        origin = run.model.provenance.get("from") if run.model is not None else None
        return _line("finetune", *data, "--from", _name(origin), "--probe", *again) if isinstance(origin, str) else None
    recipe = ("--recipe", str(folder / "recipe.json"))
    if isinstance(start, str):
        return _line("finetune", *data, "--from", _name(start), *recipe, *again)
    return _line("train", *data, *recipe, *again)


def _name(start: str) -> str:
    """Of weights, without the digest behind the last @."""
    return start.rpartition("@")[0] or start


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
