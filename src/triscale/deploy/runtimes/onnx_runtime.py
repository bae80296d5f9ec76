"""Running ONNX files: the only file that imports onnxruntime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy.typing as npt

from triscale.deploy.runtimes.quiet import missing

_FATAL = 4
"""The level below which ONNX Runtime's own messages are left out."""


def _session(path: Path, *, threads: int) -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        raise missing("running onnx files") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def open_onnx(path: Path, *, threads: int) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """The file's network as a function of its one input, on the CPU with `threads` threads.

    Raises ValueError with what to install where onnxruntime is missing.
    """
    session = _session(path, threads=threads)
    (source,) = session.get_inputs()
    (target,) = session.get_outputs()

    def run(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        (result,) = session.run([target.name], {source.name: values})
        return result  # type: ignore[no-any-return]

    return run


def onnx_metadata(path: Path) -> dict[str, str]:
    """What the file says beside its graph."""
    return dict(_session(path, threads=1).get_modelmeta().custom_metadata_map)
