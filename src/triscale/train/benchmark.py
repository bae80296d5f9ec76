"""How fast training goes on this machine: the updates alone, the images alone, both, and the machine's peak."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch

from triscale.cost import network_cost
from triscale.data.dataset import ImageDataset
from triscale.data.transform import TrainTransform
from triscale.models.inputs import Normalise
from triscale.train.distributed import World, default_device, own_device
from triscale.train.loader import MicroBatch, shares, train_batches
from triscale.train.objective import target
from triscale.train.recipe import Recipe
from triscale.train.resources import Resources
from triscale.train.run_folder import RunFolder
from triscale.train.setting import Setting, callable_network
from triscale.train.state import TrainState
from triscale.train.statistics import RunningStatistics
from triscale.train.step import Tally, Updater
from triscale.train.stopping import StopRequest

SIDES: Final = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
"""Of the square matrices whose product probes the peak; other kinds of device take the CPU's."""
PASSES: Final = 3
"""The backward pass costs about two forward passes: one for the gradients of images, one for those of weights."""

TINY_RATE: Final = 1e-8
"""Of the updates measured: random labels must not let the weights overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpeed:
    """What was measured, in one process, one thing after the other."""

    device: str
    precision: str
    batch_size: int
    workers: int
    macs: int
    """Of one image, forward."""
    step_images_per_s: float
    """Updates on a batch that lies ready."""
    data_images_per_s: float
    """Reading and augmenting alone."""
    both_images_per_s: float
    peak_flops_per_s: float
    """Of the fastest matrix product; one multiply-add is two operations."""

    @property
    def flops_per_s(self) -> float:
        """What the updates alone reach: 3 passes x 2 operations x macs x images a second."""
        return PASSES * 2 * self.macs * self.step_images_per_s

    @property
    def peak_share(self) -> float:
        """Of the machine's measured peak, 0..1."""
        return self.flops_per_s / self.peak_flops_per_s

    @property
    def limited_by_data(self) -> bool:
        """Whether images come slower than updates take them."""
        return self.data_images_per_s < self.step_images_per_s


class _Timed(NamedTuple):
    """So many calls in so many seconds."""

    calls: int
    elapsed_s: float

    @property
    def per_s(self) -> float:
        """Calls a second."""
        return self.calls / self.elapsed_s


def _timed(call: Callable[[], object], device: torch.device, *, limit_s: float, warm_up: int = 2) -> _Timed:
    """Call again and again for `limit_s` seconds, at least twice."""

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(warm_up):
        call()
    finish()
    calls, started_s = 0, time.perf_counter()
    while calls < 2 or time.perf_counter() - started_s < limit_s:
        call()
        finish()
        calls += 1
    return _Timed(calls, time.perf_counter() - started_s)


def peak_flops_per_s(device: torch.device, dtype: torch.dtype, *, limit_s: float = 1.0) -> float:
    """The most operations a second of square matrix products, over a few sizes."""
    sides = SIDES.get(device.type, SIDES["cpu"])
    rates = []
    for side in sides:
        matrix = torch.full((side, side), 0.5, device=device, dtype=dtype)
        result = torch.empty_like(matrix)

        def multiply(matrix: torch.Tensor = matrix, result: torch.Tensor = result) -> None:
            torch.mm(matrix, matrix, out=result)

        rates.append(2 * side**3 * _timed(multiply, device, limit_s=limit_s / len(sides)).per_s)
    return max(rates)


def _updater(setting: Setting, state: TrainState) -> Updater:
    recipe = setting.recipe
    return Updater(
        model=callable_network(state.network, setting),
        own=shares(batch_size=recipe.batch_size, group_images=setting.group_images, rank=0, world_size=1),
        normalise=Normalise(recipe.preprocessing, setting.device),
        statistics=RunningStatistics(state.network),
        tally=Tally(setting.device),
        world=setting.world,
        device=setting.device,
        precision=setting.resources.dtype(setting.device),
        batch_size=recipe.batch_size,
        target=target(recipe, np.zeros(1, np.int64), setting.device),
        seed=recipe.seed,
    )


def _batches(setting: Setting, dataset: ImageDataset) -> Iterator[MicroBatch]:
    """Without an end that a benchmark reaches."""
    recipe = setting.recipe
    return train_batches(
        dataset,
        TrainTransform(recipe.preprocessing, recipe.augmentation),
        shares(batch_size=recipe.batch_size, group_images=setting.group_images, rank=0, world_size=1),
        seed=recipe.seed,
        batch_size=recipe.batch_size,
        start=0,
        stop=1_000_000,
        workers=setting.reading_workers(dataset),
        pinned=setting.device.type == "cuda",
    )


def _setting(recipe: Recipe, dataset: ImageDataset, resources: Resources) -> Setting:
    if len(dataset.labels) < recipe.batch_size:
        raise ValueError(
            f"batch size {recipe.batch_size} is more than the {len(dataset.labels)} images; take a smaller one"
        )
    if recipe.batch_norm_images is None:
        raise ValueError("a benchmark needs batch_norm_images to be set")
    device = own_device(resources.device or default_device())
    return Setting(
        recipe=recipe,
        resources=resources,
        folder=RunFolder(Path()),
        device=device,
        world=World(),
        watch=lambda _event, _step, _values: None,
        stop=StopRequest(),
    )


def training_images_per_s(
    recipe: Recipe, dataset: ImageDataset, *, resources: Resources | None = None, limit_s: float = 10.0
) -> float:
    """Images a second through reading, augmenting and updates by `recipe`, measured for `limit_s` seconds.

    Raises ValueError as `measure_training` does.
    """
    setting = _setting(recipe, dataset, resources or Resources())
    state = TrainState(recipe, setting.device)
    updater, coming = _updater(setting, state), _batches(setting, dataset)
    both = _timed(lambda: updater.update(state, coming, rate=TINY_RATE), setting.device, limit_s=limit_s)
    return recipe.batch_size * both.per_s


def measure_training(
    recipe: Recipe, dataset: ImageDataset, *, resources: Resources | None = None, limit_s: float = 10.0
) -> TrainingSpeed:
    """Measure updates by `recipe` and images of `dataset`, each for `limit_s` seconds.

    Nothing is written and no weights are kept. Raises ValueError where the dataset has fewer images than a batch.
    """
    resources = resources or Resources()
    setting = _setting(recipe, dataset, resources)
    device = setting.device
    state = TrainState(recipe, device)
    updater = _updater(setting, state)
    ready = repeat(next(_batches(setting, dataset)))

    def update(batches: Iterator[MicroBatch]) -> None:
        updater.update(state, batches, rate=TINY_RATE)

    # One after another, so that workers reading ahead for one measurement take no time of the next.
    step = _timed(lambda: update(ready), device, limit_s=limit_s)
    groups = len(updater.own)
    data = _measured_data(setting, dataset, groups, limit_s=limit_s)
    coming = _batches(setting, dataset)
    both = _timed(lambda: update(coming), device, limit_s=limit_s)
    return TrainingSpeed(
        device=str(device),
        precision=resources.precision_on(device).value,
        batch_size=recipe.batch_size,
        workers=setting.reading_workers(dataset),
        macs=network_cost(recipe.network).macs,
        step_images_per_s=recipe.batch_size * step.per_s,
        data_images_per_s=recipe.batch_size * data.per_s,
        both_images_per_s=recipe.batch_size * both.per_s,
        peak_flops_per_s=peak_flops_per_s(device, resources.dtype(device), limit_s=min(2.0, limit_s)),
    )


def _measured_data(setting: Setting, dataset: ImageDataset, groups: int, *, limit_s: float) -> _Timed:
    batches = _batches(setting, dataset)

    def read() -> None:
        for _ in range(groups):
            next(batches)

    return _timed(read, torch.device("cpu"), limit_s=limit_s)
