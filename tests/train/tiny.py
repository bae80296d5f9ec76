"""Runs of a second: a network of a few layers on pictures of stripes, with everything random that a run can have."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from triscale.arch import NetworkSpec
from triscale.arch.rows import conv, mbconv
from triscale.arch.spec import square
from triscale.data.dataset import ArrayDataset, Splits
from triscale.recipes import small
from triscale.train import DataSource, Recipe
from triscale.train.checkpoint import checkpoint_files
from triscale.train.log import read_log
from triscale.train.run_folder import RunFolder

SIDE = 12
SOURCE = DataSource(name="stripes")
SPEC = NetworkSpec(
    "tiny",
    square(SIDE),
    stages=(conv(3, 1, 8), mbconv(3, 2, 2, 8, 2), conv(1, 1, 16)),
    classes=2,
    input_channels=1,
    dropout=0.3,
    stochastic_depth_rate=0.3,
)


def stripes(count: int, *, seed: int) -> ArrayDataset:
    """Pictures of stripes that lie or stand, in noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    lying = np.tile((np.arange(SIDE) // 2 % 2 * 120)[:, None], (1, SIDE))
    clean = np.stack([lying.T if label else lying for label in labels])
    images = (clean + generator.integers(0, 100, clean.shape)).astype(np.uint8)
    return ArrayDataset(images[..., None], labels.astype(np.int64), ("lying", "standing"))


def splits() -> Splits:
    """72 images to train on, of which 8 are held out: 4 updates an epoch."""
    return Splits(stripes(72, seed=0), stripes(24, seed=1))


def recipe(**changes: Any) -> Recipe:
    """Three epochs in batches of two groups."""
    plain = small(SPEC)
    tiny = replace(
        plain,
        augmentation=replace(plain.augmentation, padding=1),
        schedule=replace(plain.schedule, base_rate=0.1),
        batch_size=16,
        batch_norm_images=8,
        epochs=3,
        ema_decay=0.9,
        minival=8,
    )
    return replace(tiny, **changes)


def _tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def described(path: Path) -> dict[str, Any]:
    """What a model file says beside its weights."""
    with safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
        return {**metadata, "provenance": json.loads(metadata["provenance"])}


def epochs(folder: Path) -> list[dict[str, Any]]:
    """What the log tells of each epoch, and of the validation, without the time of day.

    The best so far is left out: of an epoch told again after a roll-back, it may be a later one that was given up.
    """
    rows = [row for row in read_log(RunFolder(folder).log) if row["event"] in ("epoch", "validation")]
    left_out = ("time_s", "best_minival", "best_epoch")
    return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


def assert_same_run(found: Path, expected: Path) -> None:
    """Model, last checkpoint (weights, average, optimizer) and epochs of two runs are equal, to the bit."""
    newest, wanted = (checkpoint_files(RunFolder(folder).checkpoints)[0] for folder in (found, expected))
    for one, other in ((RunFolder(found).model, RunFolder(expected).model), (newest, wanted)):
        tensors, others = _tensors(one), _tensors(other)
        assert tensors.keys() == others.keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor.view(-1).view(torch.uint8), others[name].view(-1).view(torch.uint8)), name
    assert described(RunFolder(found).model) == described(RunFolder(expected).model)
    assert epochs(found) == epochs(expected)
