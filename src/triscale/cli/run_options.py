"""What every verb that makes a run takes: where it happens, how, and how it is told of."""

import os
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.options import json_option, option
from triscale.cost import Precision

if TYPE_CHECKING:
    from collections.abc import Callable

    from triscale.data.dataset import Splits
    from triscale.train.recipe import Recipe
    from triscale.train.resources import Resources
    from triscale.train.run import Outcome
    from triscale.train.run_folder import DataSource
    from triscale.train.setting import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options that `train` and `finetune` share."""

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
    no_report: bool = option("leave out report.html and what it shows", default=False)
    json: bool = json_option()


def resources_of(options: RunOptions) -> "Resources":
    """What the run may use of the machine."""
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


def source_of(options: RunOptions, data: str) -> "DataSource":
    """The images that were named."""
    from triscale.train.run_folder import DataSource

    root = None if options.root is None else str(options.root)
    return DataSource(name=data, validation_fraction=options.validation_fraction, root=root)


def open_source(source: "DataSource", *, seed: int = 0) -> "Splits":
    """Open them; nothing is decoded."""
    from triscale.data.datasets import open_dataset

    root = None if source.root is None else Path(source.root)
    return open_dataset(source.name, seed=seed, validation_fraction=source.validation_fraction, root=root)


def judged_as_usual(recipe: "Recipe", data: "Splits", name: str) -> "Recipe":
    """`recipe` for as many labels as the images of the dataset called `name` carry, and by its usual metric."""
    from triscale.data.dataset import has_many_labels
    from triscale.data.datasets.table6 import usual_metric
    from triscale.train.recipe import Objective

    labels = data.train.labels
    objective = Objective.MANY_LABELS if has_many_labels(labels) else Objective.ONE_LABEL
    return replace(recipe, objective=objective, metric=usual_metric(name, labels))


def print_recipe(recipe: "Recipe") -> None:
    """What --dry-run shows."""
    from triscale.train.recipe import recipe_to_json

    print(recipe_to_json(recipe), end="")


def follow_on(options: RunOptions, *, verb: str, settings: tuple[str, ...]) -> None:
    """Go on with the run in the folder that was named, as it was begun."""
    from triscale.train.run_folder import RunFolder

    if not (options.resume and options.output):
        raise ValueError("name the images to train on, or -o FOLDER --resume to go on with a run")
    if settings:
        raise ValueError(f"a run goes on as it was begun; leave {settings[0]} out, or begin another run")
    recipe, source = RunFolder(options.output).read()
    data = open_source(source)
    if options.dry_run:
        print_recipe(recipe)
        return
    follow(options, recipe, data, source, verb=verb, path=options.output, recipe_name=None)


def run_folder(options: RunOptions, *, network: str, data: str) -> Path:
    """The run folder: the one named, or a new one below runs/."""
    from triscale.train.distributed import launched

    if options.output is not None:
        return options.output
    if launched():
        raise ValueError("several processes must agree on a run folder; name it with -o")
    stem = Path(data).stem.partition(":")[0] or "data"
    names = (f"{stem}-{network}{ending}" for ending in ["", *(f"-{n}" for n in range(2, 1000))])
    return next(path for name in names if not (path := Path("runs") / name).exists())


def follow(
    options: RunOptions,
    recipe: "Recipe",
    data: "Splits",
    source: "DataSource",
    *,
    verb: str,
    path: Path,
    recipe_name: str | None,
    train: "Callable[..., Outcome] | None" = None,
) -> None:
    """Train, told of on the screen, and say at the end where the model lies.

    `train` takes the place of the function of that name where it is given. Leaves with a signal's exit code where one
    stopped the run.
    """
    from triscale.cli.run_page import finish_page
    from triscale.cli.train_end import tell_end
    from triscale.cli.train_view import Subject, shown
    from triscale.train import run

    resources = resources_of(options)
    subject = Subject(
        path=path,
        recipe=recipe,
        resources=resources,
        recipe_name=recipe_name,
        data=source.name,
        classes=len(data.train.class_names),
        validation_images=len(data.validation.labels),
    )
    with shown(subject, json=options.json) as tell, _tensorboard(options, path) as draw:

        def watch(event: str, step: int, values: dict[str, Any]) -> None:
            tell(event, step, values)
            draw(event, step, values)

        outcome = (train or run.train)(
            recipe,
            data,
            path,
            source=source,
            resources=resources,
            resume=options.resume,
            watch=watch,
        )
    leads = int(os.environ.get("RANK", "0")) == 0
    if outcome.stopped_by is not None:
        if leads:
            print(
                f"stopped after update {outcome.step} of {outcome.total_steps}; go on with\n"
                f"  triscale {verb} -o {path} --resume",
                file=sys.stderr,
            )
        raise SystemExit(128 + outcome.stopped_by)
    if leads:
        pages = (
            []
            if options.no_report
            else finish_page(
                path,
                data.validation,
                data=source.name,
                verb=verb,
                metric=recipe.metric,
                device=options.device,
                workers=options.workers,
            )
        )
        tell_end(subject, data.train.class_names, outcome.validation, pages, json=options.json)


def _tensorboard(options: RunOptions, path: Path) -> "AbstractContextManager[Watch]":
    """Writes what TensorBoard shows into the run folder, where it is installed."""
    from triscale.train.tensorboard import available, silent, tensorboard_events

    if options.no_tensorboard or not (options.tensorboard or available()):
        return silent()
    return tensorboard_events(path / "tensorboard")
