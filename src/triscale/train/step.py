"""One update of the weights."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from triscale.train.distributed import World
from triscale.train.loader import MicroBatch, Share
from triscale.train.objective import Target
from triscale.train.state import TrainState
from triscale.train.statistics import RunningStatistics


class Tally:
    """Loss, correct answers and images since the last look, left on the device until somebody looks."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)

    def add(self, loss_sum: Tensor, correct: Tensor, images: int) -> None:
        """Count one micro-batch."""
        self._sums[:2] += torch.stack([loss_sum.double(), correct.double()])
        self._sums[2] += images

    def take(self, world: World) -> "Seen":
        """What all processes counted since the last time."""
        loss, correct, images = world.sum(self._sums.clone()).tolist()
        self._sums.zero_()
        return Seen(loss_sum=loss, correct=int(correct), images=int(images))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a tally counted."""

    loss_sum: float
    correct: int
    images: int

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(
            loss_sum=self.loss_sum + other.loss_sum,
            correct=self.correct + other.correct,
            images=self.images + other.images,
        )


def mixed_seed(seed: int, step: int, share: int) -> int:
    """A seed for the network's own randomness in one share of one update; no two are alike in a run.

    The odd multipliers are those of Weyl sequences (splitmix64, Steele et al. 2014).
    """
    return (seed + step * 0x9E3779B97F4A7C15 + share * 0xBF58476D1CE4E5B9) % (1 << 63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Updater:
    """What every update of a run has in common."""

    model: nn.Module
    """The network as it is called: wrapped for several processes, or compiled."""
    own: Sequence[Share]
    normalise: Callable[[Tensor], Tensor]
    statistics: RunningStatistics
    tally: Tally
    world: World
    device: torch.device
    precision: torch.dtype
    batch_size: int
    target: Target
    seed: int

    def update(self, state: TrainState, batches: Iterator[MicroBatch], *, rate: float) -> list[tuple[str, str]]:
        """Take this process's shares from `batches` and move the weights once.

        Gradients are those of the mean loss over the whole batch, over all processes. Returns the broken images.
        """
        broken: list[tuple[str, str]] = []
        self.statistics.begin()
        for share in self.own:
            batch = next(batches)
            broken += batch.broken
            last = share is self.own[-1]
            torch.manual_seed(mixed_seed(self.seed, state.step, share.number))
            with nullcontext() if last else self._alone():
                torch.autograd.backward(self._loss(batch))
            self.statistics.restore()
        self.statistics.finish(self.world, updates=state.step + 1)
        state.set_rate(rate)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.average is not None:
            state.average.update(state.network, step=state.step)
        state.step += 1
        return broken

    def _loss(self, batch: MicroBatch) -> Tensor:
        labels = batch.labels.to(self.device, non_blocking=True)
        images = self.normalise(batch.images.to(self.device, non_blocking=True))
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
            logits = self.model(images)
        self.statistics.collect()
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss_sum = self.target.loss(logits, labels)
        with torch.no_grad():
            self.tally.add(loss_sum.detach(), self.target.correct(logits, labels), len(labels))
        # Processes' gradients are averaged, not added.
        return loss_sum * (self.world.size / self.batch_size)

    def _alone(self) -> AbstractContextManager[None]:
        """Gradients stay in this process until the last share."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()
