"""`triscale finetune`: a trained network, taught the classes of a folder of images."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from triscale.arch import Resolution
from triscale.cli.leaving import signals_held, sigterm_ends
from triscale.cli.options import nearest, option, positional
from triscale.cli.output import print_table, table
from triscale.cli.progress import bars
from triscale.cli.run_options import (
    RunOptions,
    follow,
    follow_on,
    judged_as_usual,
    open_source,
    print_recipe,
    run_folder,
    source_of,
)
from triscale.scaling import Unit, format_quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triscale.data.dataset import Splits
    from triscale.models.files import Model
    from triscale.train.recipe import Recipe
    from triscale.transfer.choose import Choice

EXAMPLE = """triscale finetune photos/
triscale finetune photos/ --probe
triscale finetune photos/ --budget latency=20ms,params=6M
triscale finetune labels.csv --from efficientnet-lite2 epochs=30
triscale finetune -o runs/labels --resume"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(RunOptions):
    """Teach a trained network the classes of your images.

    DATA is a folder with a folder for each class (or with train/ and val/), a CSV file, tar shards, or a dataset's
    name. The network's classifier is replaced and fitted to its features, which takes seconds; then its stages learn
    on, slowly, and what does best on images held out is kept. --probe ends after the first part.

    The run folder gets the recipe, a log, checkpoints, model.safetensors and report.html. Whatever stops a run, the
    same command with --resume goes on to the same weights.
    """

    data: str | None = positional("DATA", "images to learn from; left out with --resume", default=None)
    settings: tuple[str, ...] = positional("FIELD=VALUE", "fields of the recipe, such as epochs=10", default=())
    from_: str | None = option(
        "model file, run folder, name with released weights, or hf-hub:owner/name (efficientnet-lite0)", metavar="M"
    )
    probe: bool = option("fit the classifier alone, in seconds", default=False)
    budget: str | None = option("let the costs choose the network: latency=20ms,macs=400M,params=6M", metavar="B")
    resolution: Resolution | None = option("input of the network, such as 240 or 240x320", metavar="PIXELS")
    recipe: str | None = option("name or file of a recipe (finetune; kornblith is the paper's)", metavar="R")
    random_head: bool = option("begin with a random classifier, not a fitted one", default=False)


DEFAULT = "efficientnet-lite0"
"""Its weights can come with a package, and it is quick on any machine."""
NAMED = 3
"""Releases named for a reason that they were passed over for, and reasons."""


def run(options: Options) -> None:
    """Fine-tune, or go on with it, and say where the model lies."""
    with sigterm_ends("finetune"):
        with signals_held():
            import triscale.data.datasets
            import triscale.recipes
            import triscale.transfer  # noqa: F401
        _run(options)


def _run(options: Options) -> None:
    from functools import partial

    from triscale.transfer.finetune import Head, finetune

    if options.data is None:
        follow_on(options, verb="finetune", settings=options.settings)
        return
    source = source_of(options, options.data)
    data = open_source(source)
    model = _model(options, data)
    recipe = _recipe(options, data, model)
    if options.dry_run:
        print_recipe(recipe)
        return
    path = run_folder(options, network=model.network.spec.name, data=source.name)
    if options.probe:
        from triscale.cli.finetune_probe import run_probe

        run_probe(options, recipe, data, model, source, path=path)
        return
    follow(
        options,
        recipe,
        data,
        source,
        verb="finetune",
        path=path,
        recipe_name=options.recipe or "finetune",
        train=partial(finetune, model=model, head=Head.RANDOM if options.random_head else Head.PROBE),
    )


def _model(options: Options, data: "Splits") -> "Model":
    """The trained network, for the data's classes and channels."""
    from triscale.models.weights import load
    from triscale.transfer.finetune import fitted

    name, resolution, told = options.from_ or DEFAULT, options.resolution, None
    if options.budget is not None:
        if options.from_ is not None or resolution is not None:
            raise ValueError("--budget chooses network and resolution; leave out either it or --from and --resolution")
        choice = _choice(options, data)
        name, resolution = choice.chosen.candidate.release.name, choice.chosen.candidate.resolution
        told = {"budget": options.budget, "candidates": choice.told()}
    return fitted(load(name), data, name=name, resolution=resolution, told=told)


def _choice(options: Options, data: "Splits") -> "Choice":
    """The released network and its resolution that the budget and the images speak for."""
    from triscale.transfer.choose import choose, parse_budget

    assert options.budget is not None
    budget = parse_budget(options.budget)
    with bars({}) as watch:
        choice = choose(budget, data.train, watch=watch)
    rows = table("within the budget", "resolution", "params", "macs", "ms here", "score")
    for one in choice.tried:
        figures = one.candidate.figures
        rows.add_row(
            one.candidate.release.name,
            str(one.candidate.resolution),
            format_quantity(figures.params, Unit.COUNT),
            format_quantity(figures.macs, Unit.COUNT),
            "" if figures.latency_ms is None else f"{figures.latency_ms:.1f}",
            "" if one.score is None else f"{one.score:.2%}",
        )
    if not options.json:
        print_table(rows)
        if choice.passed_over:
            print(f"passed over: {_reasons(choice.passed_over)}")
    return choice


def _reasons(passed_over: "Sequence[tuple[str, str]]") -> str:
    """Releases by the reason that they were passed over for, the commonest first; of many, a few names."""
    names: dict[str, list[str]] = {}
    for name, reason in passed_over:
        names.setdefault(reason, []).append(name)
    most_first = sorted(names.items(), key=lambda item: -len(item[1]))
    told = []
    for reason, each in most_first[:NAMED]:
        more = f" and {len(each) - NAMED} more" if len(each) > NAMED else ""
        told.append(f"{', '.join(each[:NAMED])}{more} ({reason})")
    return "; ".join(told)


def _recipe(options: Options, data: "Splits", model: "Model") -> "Recipe":
    from pathlib import Path

    from triscale.recipes.finetune import FINETUNE_RECIPES
    from triscale.train.recipe import read_recipe, with_settings
    from triscale.transfer.shape import image_shape

    spec, preprocessing = model.network.spec, model.card.preprocessing
    if options.recipe is not None and Path(options.recipe).suffix == ".json":
        read = read_recipe(Path(options.recipe))
        return with_settings(replace(read, network=spec, preprocessing=preprocessing, start=None), options.settings)
    name = options.recipe or "finetune"
    if name not in FINETUNE_RECIPES:
        raise ValueError(f"there is no recipe {name!r}; {nearest(name, list(FINETUNE_RECIPES))}")
    images, side = len(data.train.labels), image_shape(data.train).side
    recipe = FINETUNE_RECIPES[name](spec, preprocessing, images=images, side=side)
    return with_settings(judged_as_usual(recipe, data, options.data or ""), options.settings)
