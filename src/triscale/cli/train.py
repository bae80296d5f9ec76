"""`triscale train`: a network from scratch, in a run folder that survives anything."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.arch import Coefficients, NetworkSpec, Resolution, scale
from triscale.cli.leaving import signals_held, sigterm_ends
from triscale.cli.network import NET_HELP, find_network
from triscale.cli.options import json_option, nearest, option, positional
from triscale.cost import Precision

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from triscale.data.dataset import Splits
    from triscale.train.recipe import Recipe
    from triscale.train.resources import Resources
    from triscale.train.run_folder import DataSource
    from triscale.train.setting import Watch

EXAMPLE = """triscale train photos/ -o runs/photos epochs=50 optimizer.kind=adamw
triscale train fashion-mnist --depth 0.5 --width 0.5 --recipe small
triscale train -o runs/photos --resume
torchrun --nproc-per-node 8 -m triscale train imagenet/ -o runs/b0 --resume"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Train a network from scratch by a recipe, the paper's or another.

    DATA is a folder with train/ and val/, a folder of class folders, tar shards, or a dataset's name; `triscale
    check DATA` looks it over first. Every field of the recipe can be set by FIELD=VALUE; --dry-run prints them all.

    The run folder gets the recipe, a log, checkpoints, and model.safetensors with the best weights. Whatever stops
    a run, the same command with --resume goes on to the same weights.
    """

    data: str | None = positional("DATA", "images to train on; left out with --resume", default=None)
    settings: tuple[str, ...] = positional("FIELD=VALUE", "fields of the recipe, such as epochs=10", default=())
    network: str = option(NET_HELP, metavar="NET", default="efficientnet-b0")
    depth: float = option("scale the network's layers", metavar="X", default=1.0)
    width: float = option("scale the network's channels", metavar="X", default=1.0)
    resolution: Resolution | None = option("input of the network, such as 240 or 240x320", metavar="PIXELS")
    recipe: str | None = option("name or file of a recipe (small, photos or imagenet, by the data)", metavar="R")
    output: Path | None = option("run folder (runs/DATA-NET)", metavar="FOLDER", short="-o")
    resume: bool = option("go on with the run in the folder, or begin it", default=False)
    dry_run: bool = option("print the recipe and leave", default=False)
    validation_fraction: float = option("held back where DATA has no such part", metavar="X", default=0.2)
    root: Path | None = option("folder of a named dataset's files", metavar="FOLDER")
    device: str | None = option("cpu, cuda or cuda:N (a GPU where there is one)", metavar="DEVICE")
    precision: Precision | None = option("float32 or bfloat16 (bfloat16 on a GPU)", metavar="P")
    workers: int | None = option("processes that read images", metavar="N")
    compile: bool = option("let torch.compile take the network", default=False)
    recompute: bool = option("keep fewer activations, compute them twice", default=False)
    plain: bool = option("leave our own kernels out", default=False)
    checkpoint_every: float = option("seconds between checkpoints", metavar="S", default=300.0)
    keep_checkpoints: int = option("how many stay", metavar="N", default=3)
    tensorboard: bool = option("write TensorBoard events, or fail (written where installed)", default=False)
    no_tensorboard: bool = option("write no TensorBoard events", default=False)
    json: bool = json_option()


SMALLEST, SMALL = 28, 64
"""Pixels: decoded images up to `SMALL` are trained on at their own size, but no smaller than `SMALLEST`."""
MANY = 300_000
"""Training images from which on the paper's recipe is taken as it is."""


def _network(options: Options, data: "Splits") -> NetworkSpec:
    """The network that was asked for, with the data's classes and channels."""
    spec = find_network(options.network)
    coefficients = Coefficients(depth=options.depth, width=options.width, resolution=1.0)
    if (options.depth, options.width) != (1.0, 1.0):
        spec = scale(spec, coefficients, name=f"{spec.name}-d{options.depth:g}-w{options.width:g}")
    # Decoded images tell their size; files are photographs, read in colour.
    height, width, channels = getattr(data.train.image(0), "shape", (*spec.resolution, 3))
    resolution = spec.resolution
    if max(height, width) <= SMALL:
        resolution = Resolution(max(SMALLEST, height), max(SMALLEST, width))
    return replace(
        spec,
        classes=len(data.train.class_names),
        input_channels=channels,
        resolution=options.resolution or resolution,
    )


def _fitting_recipe(spec: NetworkSpec, *, images: int) -> str:
    """What is taken unless a recipe is named."""
    if max(spec.resolution) <= SMALL:
        return "small"
    return "imagenet" if images >= MANY else "photos"


def _recipe(options: Options, data: "Splits") -> "Recipe":
    from triscale.recipes import RECIPES
    from triscale.train.recipe import read_recipe, with_settings

    if options.recipe is not None and Path(options.recipe).suffix == ".json":
        return with_settings(read_recipe(Path(options.recipe)), options.settings)
    spec = _network(options, data)
    name = options.recipe or _fitting_recipe(spec, images=len(data.train.labels))
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; {nearest(name, list(RECIPES))}")
    return with_settings(RECIPES[name](spec), options.settings)


def _resources(options: Options) -> "Resources":
    from triscale.train.resources import Resources

    return Resources(
        device=options.device,
        precision=options.precision,
        workers=options.workers,
        compile=options.compile,
        recompute=options.recompute,
        fused=not options.plain,
        checkpoint_every_s=options.checkpoint_every,
        keep_checkpoints=options.keep_checkpoints,
    )


def _source(options: Options) -> "DataSource":
    from triscale.train.run_folder import DataSource

    assert options.data is not None
    root = None if options.root is None else str(options.root)
    return DataSource(name=options.data, validation_fraction=options.validation_fraction, root=root)


def _open(source: "DataSource", *, seed: int = 0) -> "Splits":
    from triscale.data.datasets import open_dataset

    root = None if source.root is None else Path(source.root)
    return open_dataset(source.name, seed=seed, validation_fraction=source.validation_fraction, root=root)


def _folder(options: Options, recipe: "Recipe", source: "DataSource") -> Path:
    """The run folder: the one named, or a new one below runs/."""
    from triscale.train.distributed import launched

    if options.output is not None:
        return options.output
    if launched():
        raise ValueError("several processes must agree on a run folder; name it with -o")
    data = Path(source.name).stem.partition(":")[0] or "data"
    names = (f"{data}-{recipe.network.name}{ending}" for ending in ["", *(f"-{n}" for n in range(2, 1000))])
    return next(path for name in names if not (path := Path("runs") / name).exists())


def run(options: Options) -> None:
    """Train, or go on training, and say where the model lies."""
    with sigterm_ends("train"):
        with signals_held():
            import triscale.data.datasets
            import triscale.recipes
            import triscale.train  # noqa: F401
        _run(options)


def _run(options: Options) -> None:
    from triscale.train.run_folder import RunFolder

    if options.data is None:
        if not (options.resume and options.output):
            raise ValueError("name the images to train on, or -o FOLDER --resume to go on with a run")
        recipe, source = RunFolder(options.output).read()
        if options.settings:
            raise ValueError(f"a run goes on as it was begun; leave {options.settings[0]} out, or begin another run")
        data = _open(source)
    else:
        source = _source(options)
        data = _open(source)
        recipe = _recipe(options, data)
    if options.dry_run:
        from triscale.train.recipe import recipe_to_json

        print(recipe_to_json(recipe), end="")
        return
    _train(options, recipe, data, source)


def _train(options: Options, recipe: "Recipe", data: "Splits", source: "DataSource") -> None:
    from triscale.cli.train_end import tell_end
    from triscale.cli.train_view import Subject, shown
    from triscale.train.run import train

    path, resources = _folder(options, recipe, source), _resources(options)
    subject = Subject(
        path=path,
        recipe=recipe,
        resources=resources,
        recipe_name=options.recipe or (options.data and _fitting_recipe(recipe.network, images=len(data.train.labels))),
        data=source.name,
        classes=len(data.train.class_names),
        validation_images=len(data.validation.labels),
    )
    with shown(subject, json=options.json) as tell, _tensorboard(options, path) as draw:

        def watch(event: str, step: int, values: dict[str, Any]) -> None:
            tell(event, step, values)
            draw(event, step, values)

        outcome = train(recipe, data, path, source=source, resources=resources, resume=options.resume, watch=watch)
    leads = int(os.environ.get("RANK", "0")) == 0
    if outcome.stopped_by is not None:
        if leads:
            print(
                f"stopped after update {outcome.step} of {outcome.total_steps}; go on with\n"
                f"  triscale train -o {path} --resume",
                file=sys.stderr,
            )
        raise SystemExit(128 + outcome.stopped_by)
    if leads:
        tell_end(subject, data.train.class_names, outcome.validation, json=options.json)


def _tensorboard(options: Options, path: Path) -> "AbstractContextManager[Watch]":
    """Writes what TensorBoard shows into the run folder, where it is installed."""
    from triscale.train.tensorboard import available, silent, tensorboard_events

    if options.no_tensorboard or not (options.tensorboard or available()):
        return silent()
    return tensorboard_events(path / "tensorboard")
