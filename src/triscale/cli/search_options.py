"""What `study`, `search coefficients` and `search baseline` share: what is trained on what, and where."""

import dataclasses
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from triscale.arch import Resolution
from triscale.arch.codec import decode, encode, parse_json
from triscale.cli.network import NET_HELP
from triscale.cli.options import json_option, option, positional

ASKED_FILE = "study.json"
"""In the folder: what the study was asked to do."""
RECORD_FILE = "study.db"
"""And what came of it."""


class ExecutorKind(StrEnum):
    """Where trainings run."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions:
    """What changes where and when trainings run, and nothing of what comes out."""

    output: Path | None = option("folder of the study (runs/...)", metavar="FOLDER", short="-o")
    resume: bool = option("go on with the study in the folder, or begin it", default=False)
    dry_run: bool = option("say what would be trained and leave", default=False)
    max_hours: float | None = option("begin nothing that would end later", metavar="H")
    executor: ExecutorKind = option("local processes or a ray cluster", metavar="E", default=ExecutorKind.LOCAL)
    parallel: int | None = option("trainings side by side (one a core, or a GPU)", metavar="N")
    ray_address: str | None = option("of a running cluster (one is begun here)", metavar="A")
    gpus: float = option("GPUs for each training, on Ray", metavar="N", default=0.0)
    storage: str | None = option("database (FOLDER/study.db): sqlite:, postgresql:, mysql:", metavar="URL")
    device: str | None = option("cpu, cuda or cuda:N (a GPU where there is one)", metavar="DEVICE")
    json: bool = json_option()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions(MachineOptions):
    """What decides the results, the same for all three verbs."""

    settings: tuple[str, ...] = positional("FIELD=VALUE", "fields of the recipe, such as epochs=10", default=())
    baseline: str = option(NET_HELP, metavar="NET", default="efficientnet-b0")
    data: str | None = option("images, as `triscale train` takes them", metavar="DATA")
    depth: float = option("scale the baseline's layers first", metavar="X", default=1.0)
    width: float = option("scale the baseline's channels first", metavar="X", default=1.0)
    resolution: Resolution | None = option("input of the baseline, such as 14 or 240x320", metavar="PIXELS")
    recipe: str | None = option("name of a recipe (small, photos or imagenet, by the data)", metavar="R")
    images: int | None = option("train on so many images (all)", metavar="N")
    validation_fraction: float = option("held back where DATA has no such part", metavar="X", default=0.2)
    root: str | None = option("folder of a named dataset's files", metavar="FOLDER")


O = TypeVar("O", bound=SearchOptions)  # noqa: E741

_MACHINE = {field.name for field in dataclasses.fields(MachineOptions)}


def deciding(options: SearchOptions) -> dict[str, Any]:
    """What decides the results, as JSON types."""
    names = [field.name for field in dataclasses.fields(options) if field.name not in _MACHINE]
    return {name: encode(getattr(options, name)) for name in names}


def as_begun(options: O, folder: Path) -> O:
    """`options` with what the study in `folder` was begun with, where they say nothing else.

    Raises ValueError where they do, and where the folder holds no study.
    """
    path = folder / ASKED_FILE
    if not path.is_file():
        return options
    try:
        begun = parse_json(path.read_text(encoding="utf-8"), where=str(path))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text, so it holds no study") from None
    kind = type(options)
    if not isinstance(begun, dict) or begun.get("verb") != kind.__module__.rpartition(".")[2]:
        raise ValueError(f"{path} was written by another verb; name another folder with -o")
    stored = decode(kind, {name: value for name, value in begun.items() if name != "verb"}, where=str(path))
    given, default = deciding(options), {field.name: field.default for field in dataclasses.fields(kind)}
    for name, value in given.items():
        if value != encode(default[name]) and value != encode(getattr(stored, name)):
            flag = name.replace("_", "-")
            raise ValueError(
                f"the study in {folder} was begun with {flag} {begun.get(name)}, not {value}; go on as it was begun"
            )
    return replace(options, **{name: getattr(stored, name) for name in given})


def _begun_only(path: Path) -> bool:
    """Whether `path` is all that a study leaves which is killed before it has begun."""
    return path.name.startswith(RECORD_FILE)


def study_folder(options: SearchOptions, verb: str) -> Path:
    """The folder: the one named, or a new one below runs/.

    Raises ValueError where it holds something else, or a study and --resume is not given.
    """
    folder = options.output
    if folder is None:
        if options.data is None:
            raise ValueError("name the images to train on with --data, or a study to go on with: -o FOLDER --resume")
        stem = f"{Path(options.data).stem.partition(':')[0] or 'data'}-{verb.replace(' ', '-')}"
        names = (f"{stem}{ending}" for ending in ["", *(f"-{n}" for n in range(2, 1000))])
        return next(path for name in names if not (path := Path("runs") / name).exists())
    if (folder / ASKED_FILE).exists():
        if not options.resume and not options.dry_run:
            raise ValueError(f"{folder} holds a study already; add --resume to go on with it, or name another folder")
    elif folder.exists() and (not folder.is_dir() or any(not _begun_only(path) for path in folder.iterdir())):
        raise ValueError(f"{folder} is not empty; name another folder with -o")
    elif options.data is None:
        raise ValueError(f"{folder} holds no study; name the images to train on with --data")
    return folder
