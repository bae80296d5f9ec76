"""The engines: a row each, which says what it needs and how it runs a model."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from triscale.data.pixels import check_pixels
from triscale.deploy.eager import Engine
from triscale.deploy.engine import extension
from triscale.deploy.engine.native import native_engine
from triscale.deploy.export.formats import FORMATS
from triscale.deploy.export.source import Source
from triscale.deploy.latency import torch_threads
from triscale.deploy.runtimes.quiet import INSTALL, quiet
from triscale.models.files import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One way to run a model on the CPU."""

    name: str
    make: Callable[[Model, int], Engine]
    """From a model and a number of threads."""
    packages: tuple[str, ...] = ()
    why_unavailable: Callable[[], str | None] = lambda: None
    """What is missing beside packages, and what to do about it."""


def _torch_engine(model: Model, threads: int, *, memory_format: torch.memory_format, compiled: bool = False) -> Engine:
    module: Any = Source(model).module(memory_format)
    if compiled:
        module = torch.compile(module, dynamic=False)

    def run(images: npt.NDArray[np.uint8]) -> Tensor:
        check_pixels(images)
        with torch_threads(threads), torch.inference_mode(not compiled), torch.no_grad():
            logits: Tensor = module(torch.from_numpy(images))
        return logits

    return run


def _exported_engine(model: Model, threads: int, *, format: str) -> Engine:
    row = FORMATS[format]
    with tempfile.TemporaryDirectory(prefix="triscale-engine-") as folder, quiet():
        path = Path(folder) / f"network{row.suffix}"
        row.write(Source(model), path)
        run = row.open(path, threads)

    def call(images: npt.NDArray[np.uint8]) -> Tensor:
        check_pixels(images)
        return torch.from_numpy(np.asarray(run(images)))

    return call


ENGINES: dict[str, EngineRow] = {
    row.name: row
    for row in (
        EngineRow(
            name="native",
            make=lambda model, threads: native_engine(model, threads=threads),
            why_unavailable=extension.why_unavailable,
        ),
        EngineRow(name="eager", make=partial(_torch_engine, memory_format=torch.contiguous_format)),
        EngineRow(name="channels-last", make=partial(_torch_engine, memory_format=torch.channels_last)),
        EngineRow(name="compiled", make=partial(_torch_engine, memory_format=torch.channels_last, compiled=True)),
        EngineRow(
            name="onnxruntime",
            make=partial(_exported_engine, format="onnx"),
            packages=("onnx", "onnxscript", "onnxruntime"),
        ),
        EngineRow(name="openvino", make=partial(_exported_engine, format="openvino"), packages=("openvino",)),
    )
}
"""By name."""


def _row(engine: str) -> EngineRow:
    if engine not in ENGINES:
        raise ValueError(f"no engine is called {engine!r}; valid: {', '.join(ENGINES)}")
    return ENGINES[engine]


def why_unavailable(engine: str) -> str | None:
    """What to do before `engine` can be used; None where it can. Raises ValueError for a name that is no engine's."""
    row = _row(engine)
    if any(find_spec(package) is None for package in row.packages):
        return f"the engine {engine} needs more packages; run: {INSTALL}"
    return row.why_unavailable()


def available_engines() -> tuple[str, ...]:
    """Names of the engines that can be used here."""
    return tuple(name for name in ENGINES if why_unavailable(name) is None)


def compile(model: Model, *, engine: str = "native", threads: int = 1) -> Engine:
    """`model` as a function from uint8 images (N, H, W, C), cropped and resized by its card, to logits (N, classes).

    Normalisation is a part of it, and `threads` of the CPU work on a call. The engine `native` takes normalised float32
    images (N, C, H, W), too, can be called from several threads, saved to a file and profiled
    (`triscale.deploy.engine.native.NativeEngine`). Raises ValueError for an engine that does not exist or cannot be
    used, with what to do about it, and for a network that it cannot run.
    """
    if reason := why_unavailable(engine):
        raise ValueError(reason)
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    return ENGINES[engine].make(model, threads)
