"""Micro-batches from a dataset, read ahead in worker processes, in an order that depends on nothing but the seed."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from triscale.data.dataset import ImageDataset, Indices
from triscale.data.errors import ImageError
from triscale.data.pixels import Pixels
from triscale.data.randomness import drawn_evenly, shuffled
from triscale.data.replace import read_or_replace
from triscale.data.transform import EvalTransform, TrainTransform
from triscale.train.workers import Guarded, start_worker, unguarded, worker_context


class MicroBatch(NamedTuple):
    """Images that pass the network together."""

    images: Tensor
    """uint8 (N, H, W, C)."""
    labels: Tensor
    """int64 (N,), or uint8 (N, classes) where images carry any number of labels."""
    broken: list[tuple[str, str]]
    """Name and reason of each image that could not be read: replaced in training, left out in evaluation."""


class Share(NamedTuple):
    """Images of every update that one process passes through the network together."""

    number: int
    """Which of all shares of an update it is; seeds its dropout, which thus depends on the number of processes only
    where a group is spread over several."""
    start: int
    """Its first image in the update's batch."""
    stop: int


def shares(*, batch_size: int, group_images: int, rank: int, world_size: int) -> tuple[Share, ...]:
    """The shares of process `rank`: whole groups of `group_images` in turn, or a part of one.

    Which images share a group never depends on the number of processes. Raises ValueError where the groups
    cannot be dealt out.
    """
    groups, rest = divmod(batch_size, group_images)
    assert not rest, (batch_size, group_images)
    if world_size <= groups:
        return tuple(Share(g, g * group_images, (g + 1) * group_images) for g in range(rank, groups, world_size))
    if world_size % groups or group_images % (world_size // groups):
        raise ValueError(
            f"{groups} groups of {group_images} images cannot be dealt out to {world_size} processes; "
            f"set batch_size or batch_norm_images so that either divides the other evenly"
        )
    part = group_images * groups // world_size
    return (Share(rank, rank * part, (rank + 1) * part),)


class _Place(NamedTuple):
    """The images of one share of one update."""

    epoch: int
    indices: tuple[int, ...]


def _batch(images: Sequence[Pixels], labels: Sequence[Any], broken: list[tuple[str, str]]) -> MicroBatch:
    stacked = np.stack(images) if images else np.empty((0, 1, 1, 1), np.uint8)
    targets = np.stack(labels) if labels else np.empty(0, np.int64)
    return MicroBatch(torch.from_numpy(stacked), torch.from_numpy(targets), broken)


class _TrainReader:
    """What a worker process runs to make a micro-batch to train on."""

    def __init__(self, dataset: ImageDataset, transform: TrainTransform, seed: int) -> None:
        self.dataset, self.transform, self.seed = dataset, transform, seed

    def __getitem__(self, place: _Place) -> MicroBatch:
        images, labels, broken = [], [], []
        for index in place.indices:
            read = read_or_replace(self.dataset, index, self.transform, seed=self.seed, epoch=place.epoch)
            images.append(read.pixels)
            labels.append(read.label)
            broken += [(str(error.path), error.reason) for error in read.errors]
        return _batch(images, labels, broken)


class _EvalReader:
    """What a worker process runs to make a micro-batch to judge by."""

    def __init__(self, dataset: ImageDataset, transform: EvalTransform) -> None:
        self.dataset, self.transform = dataset, transform
        self.labels = dataset.labels

    def __getitem__(self, indices: Sequence[int]) -> MicroBatch:
        images, labels, broken = [], [], []
        for index in indices:
            try:
                images.append(self.transform(self.dataset.image(index)))
                labels.append(self.labels[index])
            except ImageError as error:
                broken.append((self.dataset.name(index), error.reason))
        return _batch(images, labels, broken)


def _as_is(batch: Any) -> Any:
    return batch


def _batches(reader: Any, places: Iterable[Any], *, workers: int, pinned: bool) -> Iterator[MicroBatch]:
    guarded: Any = Guarded(reader)  # a dataset to DataLoader, which asks for items alone
    with warnings.catch_warnings():
        # More workers than cores were asked for by the user, who has reasons.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader: DataLoader[MicroBatch] = DataLoader(
            guarded,
            sampler=places,
            batch_size=None,
            num_workers=workers,
            worker_init_fn=start_worker if workers else None,
            collate_fn=_as_is,
            pin_memory=pinned,
            multiprocessing_context=worker_context(__name__) if workers else None,
        )
        return unguarded(iter(loader))


def _places(
    order_of: Callable[[int], Indices],
    images: int,
    own: Sequence[Share],
    *,
    batch_size: int,
    start: int,
    stop: int,
) -> Iterator[_Place]:
    """Where the images of updates `start` to `stop` lie; an epoch's images beyond its last whole batch are left out."""
    steps = images // batch_size
    for epoch in range(start // steps, -(-stop // steps)):
        order = order_of(epoch)
        for step in range(max(start, epoch * steps), min(stop, (epoch + 1) * steps)):
            batch = order[(step % steps) * batch_size :][:batch_size].tolist()
            yield from (_Place(epoch, tuple(batch[share.start : share.stop])) for share in own)


def train_batches(
    dataset: ImageDataset,
    transform: TrainTransform,
    own: Sequence[Share],
    *,
    seed: int,
    batch_size: int,
    start: int,
    stop: int,
    workers: int,
    evenly: bool = False,
    pinned: bool = False,
) -> Iterator[MicroBatch]:
    """The micro-batches of this process for updates `start` to `stop`, one for each of its shares in turn.

    They are the same for any number of `workers`, and wherever the run was stopped before `start`. With `evenly` each
    class comes as often in an epoch, else each image once.
    """
    labels = dataset.labels

    def order(epoch: int) -> Indices:
        even = partial(drawn_evenly, labels) if evenly else partial(shuffled, len(labels))
        drawn: Indices = even(seed=seed, epoch=epoch)
        return drawn

    places = _places(order, len(labels), own, batch_size=batch_size, start=start, stop=stop)
    return _batches(_TrainReader(dataset, transform, seed), places, workers=workers, pinned=pinned)


def eval_batches(
    dataset: ImageDataset,
    transform: EvalTransform,
    *,
    batch_size: int,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    pinned: bool = False,
) -> Iterator[MicroBatch]:
    """Every image once, in batches dealt out to the processes in turn: which images share one is always the same."""
    images = range(len(dataset.labels))
    places = [
        images[start : start + batch_size] for start in range(rank * batch_size, len(images), world_size * batch_size)
    ]
    return _batches(_EvalReader(dataset, transform), places, workers=workers, pinned=pinned)
