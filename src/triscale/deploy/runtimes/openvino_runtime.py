"""OpenVINO: converting networks, writing and running them; the only file that imports openvino."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from torch import Tensor, nn
from torch.export import ExportedProgram

from triscale.deploy.runtimes.program import INPUT, OUTPUT, exported_program
from triscale.deploy.runtimes.quiet import missing, quiet

if TYPE_CHECKING:
    import openvino  # type: ignore[import-untyped]

SECTION = "triscale"
"""The part of a file's run-time information that is ours."""
_WEIGHTED = ("Convolution", "GroupConvolution", "MatMul")


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise missing("exporting to openvino") from None
    return openvino


def convert(module: nn.Module, example: Tensor, *, dynamic_batch: bool) -> "openvino.Model":
    """`module` as a function of one tensor like `example`, whose first dimension may vary where `dynamic_batch`.

    The input is called `images`, the output `logits`, operators with weights by their modules. Raises ValueError with
    what to install where openvino is missing.
    """
    openvino = _openvino()
    with quiet():
        program = exported_program(module, example, dynamic_batch=dynamic_batch).run_decompositions({})
        model = openvino.convert_model(program)
    _name_by_modules(model, program)
    model.reshape([-1 if dynamic_batch else len(example), *example.shape[1:]])
    model.input().set_names({INPUT})
    model.output().set_names({OUTPUT})
    return model


def _name_by_modules(model: "openvino.Model", program: ExportedProgram) -> None:
    parameters = program.graph_signature.inputs_to_parameters
    # OpenVINO numbers convolutions in torch's order: convolution, convolution_1, ...
    names: dict[str, str] = {}
    for node in program.graph.nodes:
        if node.op == "call_function":
            kind = "convolution" if "conv" in str(node.target) else "linear"
            for value in node.all_input_nodes:
                if (weight := parameters.get(value.name, "")).endswith(".weight"):
                    number = sum(name.partition("_")[0] == kind for name in names)
                    names[f"{kind}_{number}" if number else kind] = weight.removesuffix(".weight")
    for operator in model.get_ordered_ops():
        name = operator.get_friendly_name().partition("/")[0]
        if name in names and operator.get_type_name() in _WEIGHTED:
            operator.set_friendly_name(names[name])


def read_openvino(path: Path) -> "openvino.Model":
    """The graph of an .xml file, whose weights lie in the .bin file beside it."""
    return _openvino().Core().read_model(path)


def write_openvino(model: "openvino.Model", path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write `model` with `metadata` in it to `path` (.xml) and beside it (.bin), weights in float32."""
    for name, value in metadata.items():
        model.set_rt_info(value, [SECTION, name])
    _openvino().save_model(model, path, compress_to_fp16=False)


def _settings(threads: int) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else some processors compute in bfloat16
    }


def open_openvino(model: "openvino.Model | Path", *, threads: int) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """A network as a function of its one input, on the CPU with `threads` threads, one request at a time.

    Raises ValueError with what to install where openvino is missing.
    """
    compiled = _openvino().Core().compile_model(model, "CPU", _settings(threads))
    request = compiled.create_infer_request()

    def run(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = request.infer([values])[0]
        return result

    return run


def operator_times(
    path: Path, values: npt.NDArray[Any], *, threads: int, runs: int = 20
) -> list[tuple[str, str, float]]:
    """Name, kind and milliseconds of each operator of an .xml file's network that takes time, means of `runs` calls."""
    settings = {**_settings(threads), "PERF_COUNT": True}
    request = _openvino().Core().compile_model(path, "CPU", settings).create_infer_request()
    times: dict[tuple[str, str], float] = {}
    for number in range(runs + 1):
        request.infer([values])
        for each in request.profiling_info if number else ():
            key = each.node_name, each.node_type
            times[key] = times.get(key, 0.0) + each.real_time.total_seconds() * 1e3 / runs
    return [(name, kind, milliseconds) for (name, kind), milliseconds in times.items() if milliseconds > 0]


def openvino_metadata(path: Path) -> dict[str, str]:
    """What `write_openvino` wrote beside the graph."""
    model = read_openvino(path)
    if not model.has_rt_info(SECTION):
        return {}
    return {name: str(value) for name, value in model.get_rt_info(SECTION).value.items()}
