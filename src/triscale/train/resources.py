"""What a run may use of a machine; none of it changes what the network learns beyond float rounding."""

import os
from dataclasses import dataclass

import torch

from triscale.cost import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Devices, processes and habits of a run; None lets the machine decide."""

    device: str | None = None
    """cpu, cuda or cuda:N; a GPU where there is one."""
    precision: Precision | None = None
    """bfloat16 on a GPU, float32 on a CPU."""
    workers: int | None = None
    """Processes that read images, for each process that trains; 0 reads in between updates."""
    compile: bool = False
    """Whether torch.compile takes the network."""
    recompute: bool = False
    """Whether each block's activations are computed again in the backward pass instead of kept."""
    fused: bool = True
    """Whether our own kernels run where they can."""
    checkpoint_every_s: float = 300.0
    """Seconds between checkpoints; there is always one after each evaluation."""
    keep_checkpoints: int = 3
    """How many checkpoints stay."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must not be negative, got {self.workers}")
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints must be at least 1, got {self.keep_checkpoints}")
        if not self.checkpoint_every_s >= 0:
            raise ValueError(f"checkpoint_every_s must not be negative, got {self.checkpoint_every_s}")

    def precision_on(self, device: torch.device) -> Precision:
        """What convolutions and products compute in on `device`."""
        if self.precision is not None:
            return self.precision
        return Precision.BFLOAT16 if device.type == "cuda" else Precision.FLOAT32

    def dtype(self, device: torch.device) -> torch.dtype:
        """The same as torch calls it."""
        return {Precision.FLOAT32: torch.float32, Precision.BFLOAT16: torch.bfloat16}[self.precision_on(device)]

    def reading_workers(self, device: torch.device, *, decodes: bool) -> int:
        """How many processes read images on a machine that computes on `device`.

        Images that lie decoded in memory are prepared faster than they are handed from process to process.
        """
        if self.workers is not None:
            return self.workers
        if not decodes:
            return 0
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(1, min(16, cores // sharing)) if device.type == "cuda" else 1
