"""The formats that networks are exported to: a row each."""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from triscale.deploy.engine.c_library import header_file, open_c_library, write_c_library
from triscale.deploy.engine.extension import why_unavailable
from triscale.deploy.engine.native import NativeEngine, native_engine
from triscale.deploy.engine.packing import pack
from triscale.deploy.engine.rounding import RoundedLayer, integer_layers, round_layers
from triscale.deploy.engine.sensitivity import rank_integers
from triscale.deploy.export.guard import SHARES
from triscale.deploy.export.sensitivity import rank_sensitivity, weighted_layers
from triscale.deploy.export.source import METADATA, Source
from triscale.deploy.runtimes import nncf_quantise, onnx_export, onnx_runtime, openvino_runtime, torch_program

Run = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What int8 needs to know."""

    images: npt.NDArray[np.uint8]
    """uint8 (N, H, W, C); ranges of activations come from them."""
    kept: frozenset[str] = frozenset()
    """Modules of the network that int8 would hurt: they get 16 bits in our engine and float32 elsewhere."""


Tell = Callable[[int, int], None]
"""Told how much is done, and how much there is."""


def _rank_in_torch(source: Source, images: npt.NDArray[np.uint8], tell: Tell) -> Sequence[str]:
    return rank_sensitivity(source.module(torch.channels_last), images, tell=tell)


def _every_layer(source: Source) -> Collection[str]:
    return weighted_layers(source.model.network)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way of writing a network down."""

    name: str
    suffix: str
    beside: tuple[str, ...] = ()
    """Suffixes of further files that belong to the first."""
    write: Callable[[Source, Path], None]
    """Write the network in float32."""
    open: Callable[[Path, int], Run]
    """The file's network as a function of images, on the CPU with a number of threads, in its own runtime."""
    metadata: Callable[[Path], dict[str, str]]
    """What the file says of itself."""
    quantise: Callable[[Source, Path, Path, Calibration], None] | None = None
    """Write the network in int8 to the second path; at the first it lies in float32. None where there is no int8."""
    int8_layers: Callable[[Source], Collection[str]] = _every_layer
    """Modules of the network that int8 can change."""
    spared: str = "float32"
    """What the layers have that int8 would hurt."""
    rank: Callable[[Source, npt.NDArray[np.uint8], Tell], Sequence[str]] = _rank_in_torch
    """Its layers, those first that int8 hurts most on some images."""
    shares: tuple[float, ...] = SHARES
    """How many of the layers are spared, one try after another."""
    check_int8: Callable[[], None] = nncf_quantise.check_nncf
    """Raise ValueError where int8 lacks a package."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """All files of the export at `path`, the one that is opened last."""
        return (*(path.with_suffix(suffix) for suffix in self.beside), path)


def _kept(calibration: Calibration) -> list[str]:
    return [f"network.{name}" for name in calibration.kept]


def _batches(source: Source, calibration: Calibration) -> list[npt.NDArray[np.uint8]]:
    size = source.batch or 1
    count = max(1, len(calibration.images) // size)
    return [np.resize(calibration.images[i * size : (i + 1) * size], (size, *source.image_shape)) for i in range(count)]


def _write_onnx(source: Source, path: Path) -> None:
    onnx_export.export_onnx(source.module(), source.example, path, dynamic_batch=source.dynamic_batch)
    onnx_export.write_onnx(onnx_export.read_onnx(path), path, metadata=source.metadata())


def _quantise_onnx(source: Source, written: Path, target: Path, calibration: Calibration) -> None:
    graph = nncf_quantise.quantise(
        onnx_export.read_onnx(written), _batches(source, calibration), kept=_kept(calibration)
    )
    metadata = source.metadata(precision="int8", kept=calibration.kept)
    onnx_export.write_onnx(graph, target, metadata=metadata)


def _write_openvino(source: Source, path: Path) -> None:
    graph = openvino_runtime.convert(source.module(), source.example, dynamic_batch=source.dynamic_batch)
    openvino_runtime.write_openvino(graph, path, metadata=source.metadata())


def _quantise_openvino(source: Source, written: Path, target: Path, calibration: Calibration) -> None:
    graph = nncf_quantise.quantise(
        openvino_runtime.read_openvino(written), _batches(source, calibration), kept=_kept(calibration)
    )
    metadata = source.metadata(precision="int8", kept=calibration.kept)
    openvino_runtime.write_openvino(graph, target, metadata=metadata)


def _write_torch(source: Source, path: Path) -> None:
    torch_program.export_program(
        source.module(torch.channels_last),
        source.example,
        path,
        dynamic_batch=source.dynamic_batch,
        metadata=source.metadata(),
    )


def _check_engine(format: str) -> None:
    if reason := why_unavailable():
        raise ValueError(f"cannot write {format}: {reason}")


def _write_native(source: Source, path: Path) -> None:
    _check_engine("native")
    native_engine(source.model).save(path)


def _rounded(source: Source, calibration: Calibration) -> Mapping[str, RoundedLayer]:
    return round_layers(source.model, calibration.images, fine=calibration.kept)


def _rank_integers(source: Source, images: npt.NDArray[np.uint8], tell: Tell) -> Sequence[str]:
    return rank_integers(source.model, images, tell=tell)


def _quantise_native(source: Source, _written: Path, target: Path, calibration: Calibration) -> None:
    native_engine(source.model, rounded=_rounded(source, calibration)).save(target)


def _open_native(path: Path, threads: int) -> Run:
    engine = NativeEngine.open(path, threads=threads)
    return lambda images: engine(images).numpy()


def _write_c(source: Source, path: Path) -> None:
    _check_engine("c")
    _write_packed_c(pack(source.model), path)


def _quantise_c(source: Source, _written: Path, target: Path, calibration: Calibration) -> None:
    _write_packed_c(pack(source.model, rounded=_rounded(source, calibration)), target)


def _write_packed_c(packed: npt.NDArray[np.uint8], path: Path) -> None:
    write_c_library(packed, path)
    shutil.copyfile(header_file(), path.with_suffix(".h"))


def _needs_nothing() -> None:
    """Our own int8 comes with the engine."""


_SHARES_OF_16_BITS: Final = (1 / 4, 1 / 2, 1.0)
"""Sparing all is still much faster than float32."""
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format(
            name="onnx",
            suffix=".onnx",
            write=_write_onnx,
            open=lambda path, threads: onnx_runtime.open_onnx(path, threads=threads),
            metadata=onnx_runtime.onnx_metadata,
            quantise=_quantise_onnx,
        ),
        Format(
            name="openvino",
            suffix=".xml",
            beside=(".bin",),
            write=_write_openvino,
            open=lambda path, threads: openvino_runtime.open_openvino(path, threads=threads),
            metadata=openvino_runtime.openvino_metadata,
            quantise=_quantise_openvino,
        ),
        Format(
            name="torch",
            suffix=".pt2",
            write=_write_torch,
            open=lambda path, threads: torch_program.open_program(path, threads=threads),
            metadata=lambda path: torch_program.program_metadata(path, names=METADATA),
        ),
        Format(
            name="native",
            suffix=".tripack",
            write=_write_native,
            open=_open_native,
            metadata=lambda path: NativeEngine.open(path).metadata(),
            quantise=_quantise_native,
            int8_layers=lambda source: integer_layers(source.model.network.spec),
            spared="16 bits",
            rank=_rank_integers,
            shares=_SHARES_OF_16_BITS,
            check_int8=_needs_nothing,
        ),
        Format(
            name="c",
            suffix=".so",
            beside=(".h",),
            write=_write_c,
            open=lambda path, threads: open_c_library(path, threads=threads),
            metadata=lambda _: {},
            quantise=_quantise_c,
            int8_layers=lambda source: integer_layers(source.model.network.spec),
            spared="16 bits",
            rank=_rank_integers,
            shares=_SHARES_OF_16_BITS,
            check_int8=_needs_nothing,
        ),
    )
}
"""By name."""
