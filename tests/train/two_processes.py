"""What torchrun runs for test_distributed.py: the same runs as one process does, each in its folder."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

import triscale.train.run
from tests.train.tiny import SOURCE, SPEC, recipe, splits
from triscale.train import OptimizerSettings, Recipe, Resources, train
from triscale.train.distributed import World, joined_world
from triscale.train.statistics import synchronise_statistics
from triscale.train.tuning import FineTuning

PLAIN = replace(SPEC, dropout=0.0, stochastic_depth_rate=0.0)


def asked(**changes: Any) -> Recipe:
    """The paper's optimizer: AdamW's would make a full step of a gradient that is nothing but rounding errors."""
    return recipe(
        **{"optimizer": OptimizerSettings(), "schedule": replace(recipe().schedule, base_rate=0.5), **changes}
    )


RUNS: dict[str, tuple[Recipe, Resources]] = {
    # A group each, with dropout and stochastic depth.
    "whole": (asked(), Resources()),
    # Two groups in one process, one in the other.
    "uneven": (asked(batch_size=12, batch_norm_images=4), Resources()),
    # One group in both: what is dropped would differ, so nothing is.
    "spread": (asked(batch_norm_images=16, network=PLAIN), Resources()),
    # Another wrapper each time that a stage begins to learn.
    "thawing": (asked(fine_tuning=FineTuning(head_epochs=0.5, thaw_epochs=2.0, stage_decay=0.5)), Resources()),
    "recomputed": (asked(batch_size=12, batch_norm_images=4), Resources(recompute=True)),
    "spread-recomputed": (
        asked(batch_norm_images=16, network=PLAIN),
        Resources(recompute=True, fused=False),
    ),
}


def normalised(norm: nn.BatchNorm2d, values: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Outputs, gradients and statistics of batch norm on `values`, for the loss sum(weights * outputs)."""
    values = values.clone().requires_grad_()
    outputs = norm(values)
    torch.autograd.backward((outputs * weights).sum())
    assert values.grad is not None
    assert norm.weight.grad is not None
    assert norm.bias.grad is not None
    found = {"outputs": outputs.detach(), "gradient": values.grad, "scale": norm.weight.grad, "offset": norm.bias.grad}
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return {**found, "running_mean": norm.running_mean, "running_var": norm.running_var}


def norm_case() -> tuple[nn.BatchNorm2d, Tensor, Tensor]:
    """A batch norm in float64, values far from zero, and weights of a loss."""
    generator = torch.Generator().manual_seed(5)
    norm = nn.BatchNorm2d(3, eps=1e-3, momentum=0.1, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2, generator=generator)
        norm.bias.normal_(generator=generator)
    values = 30 + 2 * torch.randn(6, 3, 5, 4, dtype=torch.float64, generator=generator)
    return norm, values, torch.randn(6, 3, 5, 4, dtype=torch.float64, generator=generator)


def _norm_part(world: World) -> dict[str, Tensor]:
    norm, values, weights = norm_case()
    group = distributed.new_group(range(world.size))
    synchronise_statistics(nn.Sequential(norm), group)
    return normalised(norm, values.chunk(world.size)[world.rank], weights.chunk(world.size)[world.rank])


def main(folder: Path) -> None:
    """Do every run of RUNS in a folder below `folder`, and leave what batch norm gave in each process."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    with joined_world(torch.device("cpu")) as world:

        @contextmanager
        def joined(_device: torch.device) -> Iterator[World]:
            yield world  # torch joins processes once

        triscale.train.run.joined_world = joined  # type: ignore[attr-defined]
        torch.save(_norm_part(world), folder / f"norm-{world.rank}.pt")
        for name, (each, resources) in RUNS.items():
            train(each, splits(), folder / name, source=SOURCE, resources=resources)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
