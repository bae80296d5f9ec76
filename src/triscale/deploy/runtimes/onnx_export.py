"""ONNX files: the only file that imports onnx and onnxscript."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from triscale.deploy.runtimes.program import INPUT, OUTPUT, exported_program
from triscale.deploy.runtimes.quiet import missing, quiet

if TYPE_CHECKING:
    import onnx

OPSET = 20


def _onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch writes ONNX with it
    except ImportError:
        raise missing("exporting to onnx") from None
    return onnx


def export_onnx(module: nn.Module, example: Tensor, path: Path, *, dynamic_batch: bool) -> None:
    """Write `module` as a function of one tensor like `example` to `path`.

    The input is called `images`, the output `logits`, nodes with weights by their modules; the first dimension may vary
    where `dynamic_batch`. Raises ValueError with what to install where onnx or onnxscript is missing.
    """
    _onnx()
    program = exported_program(module, example, dynamic_batch=dynamic_batch)
    with quiet():
        written = torch.onnx.export(
            program, input_names=[INPUT], output_names=[OUTPUT], opset_version=OPSET, dynamo=True, verbose=False
        )
        assert written is not None
        _name_by_modules(written.model.graph)
        written.save(path)


def _name_by_modules(graph: Any) -> None:
    """Call each node that has weights by the module that they are from."""
    for node in graph:
        for value in node.inputs:
            if value is not None and value.name in graph.initializers and value.name.endswith(".weight"):
                node.name = value.name.removesuffix(".weight")


def read_onnx(path: Path) -> "onnx.ModelProto":
    """The graph of a file."""
    model: onnx.ModelProto = _onnx().load(path)
    return model


def write_onnx(model: "onnx.ModelProto", path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write `model` with `metadata` in it."""
    onnx = _onnx()
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)
