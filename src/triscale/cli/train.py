"""`triscale train`: a network from scratch, in a run folder that survives anything."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from triscale.arch import Resolution
from triscale.cli.fitting_network import fitting_network, fitting_recipe, is_recipe_file, named_recipe
from triscale.cli.leaving import signals_held, sigterm_ends
from triscale.cli.network import NET_HELP
from triscale.cli.options import option, positional
from triscale.cli.run_options import (
    RunOptions,
    follow,
    follow_on,
    open_source,
    print_recipe,
    run_folder,
    source_of,
)

if TYPE_CHECKING:
    from triscale.data.dataset import Splits
    from triscale.train.recipe import Recipe

EXAMPLE = """triscale train photos/ -o runs/photos epochs=50 optimizer.kind=adamw
triscale train fashion-mnist --depth 0.5 --width 0.5 --recipe small
triscale train -o runs/photos --resume
torchrun --nproc-per-node 8 -m triscale train imagenet/ -o runs/b0 --resume"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(RunOptions):
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


def _recipe(options: Options, data: "Splits") -> "Recipe":
    from triscale.train.recipe import read_recipe, with_settings

    if is_recipe_file(options.recipe):
        return with_settings(read_recipe(Path(str(options.recipe))), options.settings)
    spec = fitting_network(
        options.network, data, depth=options.depth, width=options.width, resolution=options.resolution
    )
    return named_recipe(options.recipe, spec, data, options.data or "", options.settings)


def run(options: Options) -> None:
    """Train, or go on training, and say where the model lies."""
    with sigterm_ends("train"):
        with signals_held():
            import triscale.data.datasets
            import triscale.recipes
            import triscale.train  # noqa: F401
        _run(options)


def _run(options: Options) -> None:
    if options.data is None:
        follow_on(options, verb="train", settings=options.settings)
        return
    source = source_of(options, options.data)
    data = open_source(source)
    recipe = _recipe(options, data)
    if options.dry_run:
        print_recipe(recipe)
        return
    follow(
        options,
        recipe,
        data,
        source,
        verb="train",
        path=run_folder(options, network=recipe.network.name, data=source.name),
        recipe_name=options.recipe or fitting_recipe(recipe.network, images=len(data.train.labels)),
    )
