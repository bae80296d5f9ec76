"""One update against plain torch: a batch in groups, their gradients averaged, everything moved once."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.train.tiny import SPEC
from triscale.models.network import Network, build
from triscale.recipes import small
from triscale.train import OptimizerSettings, Recipe
from triscale.train.distributed import World
from triscale.train.loader import MicroBatch, shares
from triscale.train.objective import target
from triscale.train.state import TrainState
from triscale.train.statistics import RunningStatistics
from triscale.train.step import Tally, Updater

PLAIN = replace(SPEC, dropout=0.0, stochastic_depth_rate=0.0)
RATE = 0.05
CPU = torch.device("cpu")


def asked(*, batch_size: int, group_images: int) -> Recipe:
    return replace(
        small(PLAIN),
        optimizer=OptimizerSettings(decay=0.9, momentum=0.9, epsilon=1e-3, weight_decay=1e-2),
        batch_size=batch_size,
        batch_norm_images=group_images,
        ema_decay=0.9,
    )


def images_and_labels(images: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (images, 12, 12, 1), dtype=torch.uint8, generator=generator)
    return pixels, torch.randint(0, 2, (images,), generator=generator)


def normalise(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).double() / 128 - 1


def updated(recipe: Recipe, *, group_images: int, updates: int, precise: bool, recompute: bool = False) -> TrainState:
    """Our state after some updates on the same batch; in float64 where `precise`."""
    state = TrainState(recipe, CPU)
    state.network.set_fused(False)
    state.network.recompute = recompute
    if precise:
        state.network.double()
    own = shares(batch_size=recipe.batch_size, group_images=group_images, rank=0, world_size=1)
    pixels, labels = images_and_labels(recipe.batch_size)

    def batches() -> Iterator[MicroBatch]:
        while True:
            for share in own:
                yield MicroBatch(pixels[share.start : share.stop], labels[share.start : share.stop], [])

    updater = Updater(
        model=state.network,
        own=own,
        normalise=normalise if precise else lambda pixels: normalise(pixels).float(),
        statistics=RunningStatistics(state.network),
        tally=Tally(CPU),
        world=World(),
        device=CPU,
        precision=torch.float32,
        batch_size=recipe.batch_size,
        target=target(recipe, np.zeros(1, np.int64), torch.device("cpu")),
        seed=0,
    )
    every = batches()
    for _ in range(updates):
        updater.update(state, every, rate=RATE)
    return state


class Reference:
    """The same by the book: each group passes a fresh copy of the statistics, and every parameter is moved alone."""

    def __init__(self, recipe: Recipe, network: Network) -> None:
        self.recipe, self.network = recipe, network
        self.square = {name: torch.ones_like(p) for name, p in network.named_parameters()}
        self.momentum = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
        self.average = {name: x.clone() for name, x in network.state_dict().items() if "num_batches" not in name}
        self.step = 0

    def update(self, groups: list[tuple[Tensor, Tensor]]) -> None:
        named = dict(self.network.named_parameters())
        before = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        gradients = {name: torch.zeros_like(p) for name, p in named.items()}
        moved = {name: torch.zeros_like(buffer, dtype=torch.float64) for name, buffer in before.items()}
        for pixels, labels in groups:
            for name, buffer in self.network.named_buffers():
                buffer.copy_(before[name])
            logits = self.network(normalise(pixels))
            targets = functional.one_hot(labels, 2).double() * 0.9 + 0.1 / 2
            loss = -(targets * logits.log_softmax(1)).sum(1).mean()
            for name, gradient in zip(named, torch.autograd.grad(loss, list(named.values())), strict=True):
                gradients[name] += gradient / len(groups)
            for name, buffer in self.network.named_buffers():
                moved[name] += buffer.double() / len(groups)
        with torch.no_grad():
            for name, buffer in self.network.named_buffers():
                buffer.copy_(moved[name])
            self._move(named, gradients)
            decay = min(0.9, (1 + self.step) / (10 + self.step))
            for name, tensor in self.network.state_dict().items():
                if name in self.average:
                    self.average[name] = decay * self.average[name] + (1 - decay) * tensor
        self.step += 1

    def _move(self, named: dict[str, nn.Parameter], gradients: dict[str, Tensor]) -> None:
        for name, parameter in named.items():
            decays = "norm" not in name
            gradient = gradients[name] + decays * 1e-2 * parameter
            self.square[name] = 0.9 * self.square[name] + 0.1 * gradient**2
            self.momentum[name] = 0.9 * self.momentum[name] + RATE * gradient / (self.square[name] + 1e-3).sqrt()
            parameter -= self.momentum[name]


@pytest.mark.parametrize("group_images", [4, 6, 12])
@pytest.mark.parametrize("recompute", [False, True])
def test_an_update_is_that_of_the_book(group_images: int, recompute: bool) -> None:
    recipe = asked(batch_size=12, group_images=group_images)
    assert recipe.label_smoothing == 0.1
    found = updated(recipe, group_images=group_images, updates=3, precise=True, recompute=recompute)
    network = build(recipe.network, seed=recipe.seed).double().train()
    network.set_fused(False)
    reference = Reference(recipe, network)
    pixels, labels = images_and_labels(12)
    for _ in range(3):
        reference.update(list(zip(pixels.split(group_images), labels.split(group_images), strict=True)))
    expected = network.state_dict()
    for name, tensor in found.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")
    assert found.average is not None
    for name, tensor in found.average.tensors.items():  # float32
        torch.testing.assert_close(tensor, reference.average[name].float(), rtol=1e-5, atol=1e-6, msg=name)
    for name, parameter in found.network.named_parameters():
        kept = found.optimizer.state[parameter]
        torch.testing.assert_close(kept["mean_square"], reference.square[name], rtol=1e-9, atol=1e-11, msg=name)
        torch.testing.assert_close(kept["momentum_buffer"], reference.momentum[name], rtol=1e-9, atol=1e-11, msg=name)


def test_a_batch_of_4096_is_gathered_in_groups() -> None:
    recipe = asked(batch_size=4096, group_images=512)
    found = updated(recipe, group_images=512, updates=1, precise=False)
    network = build(recipe.network, seed=recipe.seed).double().train()
    network.set_fused(False)
    reference = Reference(recipe, network)
    pixels, labels = images_and_labels(4096)
    reference.update(list(zip(pixels.split(512), labels.split(512), strict=True)))
    for name, tensor in found.network.state_dict().items():
        expected = network.state_dict()[name].to(tensor.dtype)
        torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_without_batch_norm_groups_are_one_large_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norm in evaluation mode is a scale and an offset: images then know nothing of each other."""
    monkeypatch.setattr(nn.BatchNorm2d, "train", lambda self, _mode=True: nn.Module.train(self, mode=False))
    recipe = asked(batch_size=24, group_images=24)
    states = [updated(recipe, group_images=images, updates=2, precise=True) for images in (24, 8, 3)]
    first = states[0].network.state_dict()
    for state in states[1:]:
        for name, tensor in state.network.state_dict().items():
            torch.testing.assert_close(tensor, first[name], rtol=1e-9, atol=1e-11, msg=name)


def test_the_tally_is_of_all_groups() -> None:
    tally = Tally(CPU)
    for images in (3, 5):
        tally.add(torch.tensor(float(images)), torch.tensor(images - 1), images)
    seen = tally.take(World())
    assert (seen.loss_sum, seen.correct, seen.images) == (8.0, 6, 8)
    assert math.isclose(tally.take(World()).loss_sum, 0.0)
