"""Judging is exact: the same figures, to the bit, for any number of processes."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import square
from triscale.data.pixels import Pixels
from triscale.data.transform import EvalTransform
from triscale.train.distributed import World
from triscale.train.evaluate import TEMPERATURES, Evaluation, evaluate
from triscale.train.loader import eval_batches

IMAGES, BROKEN = 23, (4, 17)
CPU = torch.device("cpu")


class Pictures:
    """Noise, of which two pictures cannot be read."""

    def __init__(self, classes: int) -> None:
        generator = np.random.default_rng(0)
        self.class_names = tuple(f"class {number}" for number in range(classes))
        self.labels = generator.integers(0, classes, IMAGES).astype(np.int64)
        self.pixels = generator.integers(0, 256, (IMAGES, 8, 8, 1), dtype=np.uint8)

    def image(self, index: int) -> Path | Pixels:
        return Path("/nowhere.png") if index in BROKEN else self.pixels[index]

    def name(self, index: int) -> str:
        return f"picture {index}"


@dataclass
class _Sums:
    barrier: threading.Barrier
    parts: dict[int, Tensor] = field(default_factory=dict)


class Together(World):
    """Processes played by threads; sums are added in an order that depends on their number."""

    sums: _Sums

    def sum(self, values: Tensor) -> Tensor:
        sums = self.sums
        sums.parts[self.rank] = values.clone()
        sums.barrier.wait()
        total = torch.stack([sums.parts[rank] for rank in range(self.size)]).sum(0)
        sums.barrier.wait()
        return values.copy_(total)


def normalise(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float() / 64 - 2


def judged(network: nn.Module, *, classes: int, world_size: int) -> list[Evaluation]:
    shared, found = _Sums(threading.Barrier(world_size)), {}
    pictures = Pictures(classes)

    def run(rank: int) -> None:
        world = Together(rank, world_size)
        object.__setattr__(world, "sums", shared)
        batches = eval_batches(
            pictures,
            EvalTransform(Preprocessing(square(8), crop=1.0, mean=(0.5,), std=(0.25,))),
            batch_size=4,
            workers=0,
            rank=rank,
            world_size=world_size,
        )
        found[rank] = evaluate(network, batches, classes=classes, normalise=normalise, device=CPU, world=world)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[rank] for rank in range(world_size)]


def network(classes: int, *, ties: bool = False) -> nn.Module:
    layer = nn.Linear(64, classes)
    torch.manual_seed(1)
    nn.init.zeros_(layer.weight) if ties else nn.init.normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Flatten(), layer).eval()


@pytest.mark.parametrize("classes", [2, 5, 9])
@pytest.mark.parametrize("ties", [False, True])
def test_figures_do_not_depend_on_the_number_of_processes(classes: int, ties: bool) -> None:
    judge = network(classes, ties=ties)
    (alone,) = judged(judge, classes=classes, world_size=1)
    pictures = Pictures(classes)
    readable = [index for index in range(IMAGES) if index not in BROKEN]
    labels = torch.from_numpy(pictures.labels[readable])
    with torch.inference_mode():
        logits = judge(normalise(torch.from_numpy(pictures.pixels[readable])))
    assert alone.images == len(readable)
    assert [name for name, _ in alone.broken] == ["picture 4", "picture 17"]
    assert alone.loss == pytest.approx(nn.functional.cross_entropy(logits.double(), labels).item(), abs=1e-6)
    at_best = [nn.functional.cross_entropy(logits.double() / each, labels).item() for each in TEMPERATURES]
    assert alone.calibrated_loss == pytest.approx(min(at_best), abs=1e-6)
    assert alone.confusion.sum() == len(readable)
    assert torch.equal(alone.confusion.sum(1), torch.bincount(labels, minlength=classes))
    assert alone.confusion.trace() == round(alone.top1 * len(readable))
    if classes <= 5:
        assert alone.top5 == 1.0
    if not ties:
        assert alone.top1 == (logits.argmax(1) == labels).double().mean().item()
        better = (logits > logits.gather(1, labels[:, None])).sum(1)
        assert alone.top5 == (better < 5).double().mean().item()
    for world_size in (2, 3, 7, 30):
        for found in judged(judge, classes=classes, world_size=world_size):
            for name in ("images", "top1", "top5", "loss", "calibrated_loss"):
                assert getattr(found, name) == getattr(alone, name)
            assert torch.equal(found.confusion, alone.confusion)


def test_a_loss_that_is_not_finite_stays_so() -> None:
    judge = network(3)
    nn.init.constant_(judge[1].bias, float("nan"))  # type: ignore[index]
    (found,) = judged(judge, classes=3, world_size=1)
    assert found.loss != found.loss
