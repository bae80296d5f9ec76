"""What a run's updates and evaluations happen in: machine, processes, folder, and who listens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from triscale.data.dataset import ImageDataset
from triscale.data.transform import EvalTransform
from triscale.models.fold import fold_batch_norms
from triscale.models.inputs import Normalise
from triscale.models.network import Network
from triscale.train.distributed import World
from triscale.train.evaluate import Judgement, evaluate, evaluate_many_labels
from triscale.train.loader import MicroBatch, eval_batches
from triscale.train.recipe import Objective, Recipe
from triscale.train.resources import Resources
from triscale.train.run_folder import RunFolder
from triscale.train.statistics import synchronise_statistics
from triscale.train.stopping import Stopped, StopRequest

Watch = Callable[[str, int, dict[str, Any]], None]
"""Called with what happened, after which update, and its figures; "step" after every update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the updates of a run happen in."""

    recipe: Recipe
    resources: Resources
    folder: RunFolder
    device: torch.device
    world: World
    watch: Watch
    stop: StopRequest

    @property
    def group_images(self) -> int:
        """Images that batch norm takes its statistics from."""
        assert self.recipe.batch_norm_images is not None, "settled at the start of the run"
        return self.recipe.batch_norm_images

    def reading_workers(self, dataset: ImageDataset) -> int:
        """How many processes read images of `dataset`."""
        decodes = not isinstance(dataset.image(0), np.ndarray)
        return self.resources.reading_workers(self.device, decodes=decodes)


def callable_network(network: Network, setting: Setting) -> nn.Module:
    """`network` as an update calls it: recomputing, fused, compiled, one of several; its weights are the same."""
    world, resources = setting.world, setting.resources
    network.recompute = resources.recompute
    network.set_fused(resources.fused)
    groups = setting.recipe.batch_size // setting.group_images
    if world.size > groups:
        sharing = world.size // groups
        own = [distributed.new_group(range(first, first + sharing)) for first in range(0, world.size, sharing)]
        synchronise_statistics(network, own[world.rank // sharing])
    model: nn.Module = network
    if resources.compile:
        # Inductor's own random numbers would drop other features than torch's.
        network.compile(options={"fallback_random": True})
    if world.size > 1:
        model = DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
    return model


def judge(network: Network, dataset: ImageDataset, setting: Setting) -> Judgement:
    """Evaluate `network` on every image of `dataset`, together with the other processes.

    Raises Stopped, in all processes together, where one of them is asked to stop.
    """
    recipe, world, device = setting.recipe, setting.world, setting.device
    batches = eval_batches(
        dataset,
        EvalTransform(recipe.preprocessing),
        batch_size=min(setting.group_images, 256),
        workers=setting.reading_workers(dataset),
        rank=world.rank,
        world_size=world.size,
        pinned=device.type == "cuda",
    )
    evaluations: dict[Objective, Callable[..., Judgement]] = {
        Objective.ONE_LABEL: evaluate,
        Objective.MANY_LABELS: evaluate_many_labels,
    }
    return evaluations[recipe.objective](
        fold_batch_norms(network),
        _until_stopped(batches, setting.stop, world),
        classes=recipe.network.classes,
        normalise=Normalise(recipe.preprocessing, device),
        device=device,
        world=world,
        precision=setting.resources.dtype(device),
    )


def _until_stopped(batches: Iterator[MicroBatch], stop: StopRequest, world: World) -> Iterator[MicroBatch]:
    """Each process leaves out the rest of its batches; what the others have counted is then not looked at."""
    for batch in batches:
        if stop.signal is not None:
            break
        yield batch
    (stopped,) = world.any(stop.signal is not None)
    if stopped:
        raise Stopped
