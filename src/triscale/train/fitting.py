"""How many images fit the memory together: proposed by the memory model, confirmed by a trial."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from triscale.cost import training_memory
from triscale.models.inputs import Normalise
from triscale.models.network import build
from triscale.train.loss import smoothed_cross_entropy
from triscale.train.recipe import OptimizerKind, Recipe
from triscale.train.resources import Resources
from triscale.train.state import make_optimizer

MOST_IMAGES: Final = 128
"""More together make no device faster, and take batch-norm statistics of an ImageNet run from too much of a batch."""
USED_SHARE: Final = 0.8
"""Of the free memory; the rest is for convolutions' workspaces and whoever else runs."""
_SHORTAGES: Final = ("can't allocate memory", "not enough memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
"""In messages of torch's CPU allocators, of CUDA, and of cuBLAS and cuDNN."""


class OutOfMemory(ValueError):
    """Not even the smallest piece of work fits the memory."""


def free_memory_bytes(device: torch.device) -> int:
    """What is free on `device` now; for a CPU what the machine and this process's control group leave."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    return min([free, *_left_by_control_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _left_by_control_groups(membership: Path, root: Path) -> Iterator[int]:
    """What this process's control group and each one around it leave; file cache counts as free, as it gives way."""
    if not membership.exists():
        return
    for line in membership.read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            top, limit_file, used_file = root, "memory.max", "memory.current"
        elif controllers == "memory":
            top, limit_file, used_file = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        own = top / name.lstrip("/")
        # In a container the name may be one that only the host sees; the container's own group is then the top.
        for group in (own, *own.parents) if own.is_relative_to(top) else (top,):
            limit, used, counts = group / limit_file, group / used_file, group / "memory.stat"
            if limit.exists() and used.exists() and (words := limit.read_text().strip()) != "max":
                rows = dict(row.split() for row in counts.read_text().splitlines()) if counts.exists() else {}
                cached = int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))
                yield max(0, int(words) - int(used.read_text()) + cached)
            if group == top:
                break


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, on any device, says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORTAGES)


def _candidates(recipe: Recipe, world_size: int) -> list[int]:
    """Numbers of images that cut a batch into equal groups, at least one a process, largest first."""
    own = max(1, recipe.batch_size // world_size)
    return [images for images in range(min(own, MOST_IMAGES), 0, -1) if recipe.batch_size % images == 0]


def fitting_group(recipe: Recipe, resources: Resources, device: torch.device, *, world_size: int = 1) -> int:
    """The most images, at most 128, that one process can take through the network and back at once.

    Raises OutOfMemory where not even one fits.
    """
    free_bytes = int(USED_SHARE * free_memory_bytes(device))
    if device.type == "cpu":
        free_bytes //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    candidates = _candidates(recipe, world_size)
    for images in candidates:
        memory = training_memory(
            recipe.network,
            batch_size=images,
            precision=resources.precision_on(device),
            optimizer_slots=1 if recipe.optimizer.kind is OptimizerKind.SGD else 2,
            ema=recipe.ema_decay > 0,
        )
        # The model knows nothing of recomputing; there the trial alone decides.
        if (resources.recompute or memory.total_bytes <= free_bytes or images == 1) and _fits(
            recipe, resources, device, images=images
        ):
            return images
    raise OutOfMemory(
        f"one image of {recipe.network.resolution} does not fit {recipe.network.name} in training into "
        f"{free_bytes / 2**30:.1f} GiB; try --recompute, or a smaller network or resolution"
    )


def _fits(recipe: Recipe, resources: Resources, device: torch.device, *, images: int) -> bool:
    """Whether an update with so many images goes through."""
    try:
        _try_update(recipe, resources, device, images=images)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _try_update(recipe: Recipe, resources: Resources, device: torch.device, *, images: int) -> None:
    network = build(recipe.network, seed=0).to(device).train()
    network.recompute = resources.recompute
    network.set_fused(resources.fused)
    optimizer = make_optimizer(network, recipe.optimizer)
    pixels = torch.zeros(images, *recipe.preprocessing.resolution, recipe.network.input_channels, dtype=torch.uint8)
    labels = torch.zeros(images, dtype=torch.int64, device=device)
    precision = resources.dtype(device)
    with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
        logits = network(Normalise(recipe.preprocessing, device)(pixels.to(device)))
    torch.autograd.backward(smoothed_cross_entropy(logits.float(), labels, smoothing=recipe.label_smoothing))
    optimizer.step()
