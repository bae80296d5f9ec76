"""`train`: one run from its recipe to a judged model file, wherever it was stopped before."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any, Final, NamedTuple

import torch

from triscale import __version__
from triscale.arch.codec import encode
from triscale.data.dataset import ImageDataset, Splits, hold_out
from triscale.models.card import ModelCard
from triscale.models.files import Model, load_model, save_model
from triscale.train.distributed import default_device, joined_world, own_device
from triscale.train.evaluate import Judgement
from triscale.train.fitting import OutOfMemory, fitting_group, is_out_of_memory
from triscale.train.log import RunLog, read_log
from triscale.train.loop import Loop
from triscale.train.recipe import Recipe, first_difference, recipe_from_json, recipe_to_json
from triscale.train.resources import Resources
from triscale.train.run_folder import DataSource, RunFolder
from triscale.train.setting import Setting, Watch, judge
from triscale.train.stopping import Stopped, stop_requests


class Outcome(NamedTuple):
    """How a run, or this part of it, ended."""

    step: int
    """Updates done."""
    total_steps: int
    """Of the recipe; a run that the held-out images ended early did fewer."""
    stopped_by: Signals | None
    """The signal that stopped it early; its checkpoint is written."""
    validation: Judgement | None
    """Of the best weights, on the images they never saw; None for a stopped run, and for one finished before."""

    @property
    def finished(self) -> bool:
        """Whether the best weights were found and judged."""
        return self.stopped_by is None


def train(
    recipe: Recipe,
    data: Splits,
    path: Path,
    *,
    source: DataSource,
    start: Model | None = None,
    resources: Resources | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Train by `recipe` on `data` (opened from `source`) in the run folder `path`.

    The held-out part of the training images chooses the best weights; the validation images are looked at once,
    at the end. With `resume`, a run begun in the folder goes on from its newest checkpoint, to the same weights
    that it would have had without the stop; a folder without one is begun. Started by torchrun, the processes
    share the work.

    `start` is the trained network that the run starts from instead of random weights, of the recipe's spec and named in
    its `start`; a copy is kept in the folder, so that a resumed run needs none.

    `watch` hears of everything that happens, as `log.jsonl` does, and of every update.

    Raises ValueError for a folder that holds something else, another recipe or another process; Diverged where the
    loss stays infinite; OutOfMemory; OSError where a file cannot be written. Whatever is raised, the last
    checkpoint stays whole.
    """
    resources = resources or Resources()
    folder = RunFolder(path)
    device = own_device(resources.device or default_device())
    with (
        joined_world(device) as world,
        folder.locked() if world.leads else nullcontext(),
        _shortages_told(),
    ):
        text = ""
        if world.leads:
            settle = partial(_settled, resources=resources, device=device, world_size=world.size)
            text = recipe_to_json(_begin(folder, recipe, source, settle, start=start, resume=resume))
        settled = recipe_from_json(world.agree(text))
        told = _watched(RunLog(folder.log) if world.leads else None, watch)
        with stop_requests() as stop:
            setting = Setting(
                recipe=settled,
                resources=resources,
                folder=folder,
                device=device,
                world=world,
                watch=told,
                stop=stop,
            )
            return _run(setting, data, source)


def _begin(
    folder: RunFolder,
    recipe: Recipe,
    source: DataSource,
    settle: Callable[[Recipe], Recipe],
    *,
    start: Model | None,
    resume: bool,
) -> Recipe:
    """Make the run folder, or find what the run in it was asked to do."""
    if not folder.exists:
        if (recipe.start is None) != (start is None):
            raise ValueError("a recipe names its start if and only if trained weights are given to start from")
        recipe = settle(recipe)
        folder.create(recipe, source, start)
        return recipe
    if not resume:
        raise ValueError(f"{folder.path} holds a run already; add --resume to go on with it, or name another folder")
    begun, begun_source = folder.read()
    if recipe.batch_norm_images is None:
        recipe = replace(recipe, batch_norm_images=begun.batch_norm_images)
    if difference := first_difference(encode(begun), encode(recipe)) or first_difference(
        encode(begun_source), encode(source)
    ):
        raise ValueError(f"the run in {folder.path} was begun with {difference}; resume it as it was begun")
    return begun


def _settled(recipe: Recipe, *, resources: Resources, device: torch.device, world_size: int) -> Recipe:
    """With the size of batch norm's groups decided, so that a resumed run takes the same."""
    if recipe.batch_norm_images is not None:
        return recipe
    return replace(recipe, batch_norm_images=fitting_group(recipe, resources, device, world_size=world_size))


def _watched(log: RunLog | None, watch: Watch | None) -> Watch:
    def tell(event: str, step: int, values: dict[str, Any]) -> None:
        if log is None:
            return
        if event != "step":
            log.write(event, step=step, **values)
        if watch is not None:
            watch(event, step, values)

    return tell


def _run(setting: Setting, data: Splits, source: DataSource) -> Outcome:
    recipe, folder, world = setting.recipe, setting.folder, setting.world
    train_set, held_out = training_parts(recipe, data.train)
    start = folder.read_start(recipe)
    card = ModelCard(recipe.preprocessing, data.train.class_names, _provenance(recipe, source, start))
    loop = Loop(setting, train_set, held_out, card, start=None if start is None else start.network.state_dict())
    (judged,) = world.any(world.leads and any(row["event"] == "validation" for row in read_log(folder.log)))
    if judged:
        return Outcome(loop.total_steps, loop.total_steps, None, None)
    loop.tell_beginning()
    if not loop.run():
        return Outcome(loop.state.step, loop.total_steps, setting.stop.signal, None)
    world.wait()
    model = load_model(folder.model)
    try:
        found = judge(model.network, data.validation, setting)
    except Stopped:
        return Outcome(loop.state.step, loop.total_steps, setting.stop.signal, None)
    loop.name_broken(found)
    if world.leads:
        metrics = {**found.figures("validation", recipe.metric), "validation_images": found.images}
        provenance = {**model.card.provenance, **metrics}
        save_model(folder.model, model.network, replace(model.card, provenance=provenance))
        setting.watch("validation", loop.state.step, metrics)
    return Outcome(loop.state.step, loop.total_steps, None, found)


def training_parts(recipe: Recipe, dataset: ImageDataset) -> tuple[ImageDataset, ImageDataset | None]:
    """What is trained on, and what the best weights are chosen by."""
    count = recipe.held_out_images(len(dataset.labels))
    return hold_out(dataset, count=count, seed=recipe.seed) if count else (dataset, None)


def _provenance(recipe: Recipe, source: DataSource, start: Model | None) -> dict[str, Any]:
    settings = {name: value for name, value in encode(recipe).items() if name not in ("network", "preprocessing")}
    origin = {} if start is None else {"from": recipe.start, "start": dict(start.card.provenance)}
    return {"data": source.name, **origin, "recipe": settings, "triscale": __version__, "torch": str(torch.__version__)}


_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def _shortages_told() -> Iterator[None]:
    """Say in one line that memory ran out, or the disk."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            "memory ran out; resume with --recompute, or begin anew with a smaller batch_norm_images or resolution"
        ) from None
    except OSError as error:
        if error.errno not in _FULL:
            raise
        remedy = f"{error.strerror}; free some space, then go on with --resume"
        raise OSError(error.errno, remedy, error.filename) from None
