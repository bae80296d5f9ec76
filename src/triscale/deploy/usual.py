"""The engine that runs models on this machine unless another one is asked for."""

import os
from dataclasses import dataclass

import torch

from triscale.deploy.eager import Engine, eager_engine
from triscale.deploy.engine.extension import why_unavailable
from triscale.deploy.engine.native import native_engine
from triscale.deploy.engine.steps import UnsupportedNetwork
from triscale.models.files import Model

NATIVE, EAGER = "native", "torch"


@dataclass(frozen=True, slots=True)
class Chosen:
    """An engine, and what to call it."""

    name: str
    run: Engine


def cores() -> int:
    """Of this machine, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_engine(
    model: Model, *, threads: int = 1, device: torch.device | str = "cpu", features: bool = False
) -> Chosen:
    """Our compiled engine on a CPU, and torch on a GPU, where no compiler was, or for networks the engine has not.

    `threads` work on one call of the compiled engine; torch has its own setting. With `features` it gives pooled
    features in place of logits.
    """
    if torch.device(device).type == "cpu" and why_unavailable() is None:
        try:
            return Chosen(NATIVE, native_engine(model, threads=threads, features=features))
        except UnsupportedNetwork:
            pass
    return Chosen(EAGER, eager_engine(model, device=device, features=features))
