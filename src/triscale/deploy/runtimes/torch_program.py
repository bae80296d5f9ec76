"""Files of torch.export (.pt2): written, read and run by torch alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
import torch
from torch import Tensor, nn

from triscale.deploy.latency import torch_threads
from triscale.deploy.runtimes.program import exported_program
from triscale.deploy.runtimes.quiet import quiet

PREFIX: Final = "triscale."
"""What the names of our parts of a file start with."""


def export_program(
    module: nn.Module, example: Tensor, path: Path, *, dynamic_batch: bool, metadata: Mapping[str, str]
) -> None:
    """Write `module` as a function of one tensor like `example`, with `metadata` in the file."""
    program = exported_program(module, example, dynamic_batch=dynamic_batch)
    with quiet():
        torch.export.save(program, path, extra_files={PREFIX + name: value for name, value in metadata.items()})


def open_program(path: Path, *, threads: int) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """The file's network as a function of its one input, on the CPU with `threads` threads."""
    with quiet():
        module = torch.export.load(path).module()

    def run(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        with torch_threads(threads), torch.inference_mode():
            result: npt.NDArray[Any] = module(torch.from_numpy(values)).numpy()
        return result

    return run


def program_metadata(path: Path, *, names: tuple[str, ...]) -> dict[str, str]:
    """What `export_program` wrote beside the graph under `names`, of those that are there."""
    found: dict[str, Any] = {PREFIX + name: "" for name in names}
    with quiet():
        torch.export.load(path, extra_files=found)
    return {name.removeprefix(PREFIX): str(value) for name, value in found.items() if value}
