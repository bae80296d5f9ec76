"""The compiled engine as a function of images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from triscale.arch.codec import decode, spec_from_json
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import NetworkSpec, Resolution
from triscale.data.pixels import check_pixels
from triscale.deploy.engine.extension import extension
from triscale.deploy.engine.packing import pack
from triscale.deploy.engine.rounding import RoundedLayer
from triscale.models.card import ModelCard
from triscale.models.files import Model, model_metadata
from triscale.storage import atomic_path


@dataclass(frozen=True, slots=True)
class StepTime:
    """What one step takes."""

    name: str
    milliseconds: float


class NativeEngine:
    """Runs one packed network on images of one resolution; safe to call from several threads at a time.

    Made by `native_engine` from a model, or by `open` from a packed file.
    """

    def __init__(self, engine: Any, packed: npt.NDArray[np.uint8] | None) -> None:
        self._engine = engine
        self._packed = packed
        self._description: dict[str, Any] = json.loads(bytes(engine.description))
        self.card = ModelCard(
            decode(Preprocessing, self._description["preprocessing"], where="preprocessing"),
            tuple(self._description["class_names"]),
            self._description["provenance"],
        )
        self.spec: NetworkSpec = spec_from_json(json.dumps(self._description["spec"]), where="spec")
        self.image_shape: tuple[int, int, int] = engine.image_shape
        """Channels, height, width."""
        self.outputs: int = engine.outputs
        """Logits of an image, or its pooled features."""

    @classmethod
    def open(cls, path: Path, *, threads: int = 1, instruction_set: str | None = None) -> "NativeEngine":
        """The engine of a packed file, which is mapped: several processes share its memory.

        Raises ValueError, in one line, for anything that is no whole packed file.
        """
        try:
            made = extension().Engine.of_file(str(path), threads, instruction_set or "")
            return cls(made, None)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from None

    @property
    def threads(self) -> int:
        """Threads that one call works with."""
        threads: int = self._engine.threads
        return threads

    @property
    def instruction_set(self) -> str:
        """What the kernels are made for: avx512vnni, avx512, avx2 or portable."""
        name: str = self._engine.instruction_set
        return name

    @property
    def memory_bytes(self) -> int:
        """What one call at a time takes besides the weights, for one image."""
        size: int = self._engine.context_bytes
        return size

    def metadata(self) -> dict[str, str]:
        """What the packed network says of itself, as model files say it, and in which precision it works."""
        bits = self._description["bits"]
        precision = {"precision": "int8" if bits else "float32", "bits": json.dumps(bits)}
        return {**model_metadata(self.spec, self.card), **precision}

    def save(self, path: Path) -> None:
        """Write the packed network, whole or not at all; `open` maps it."""
        if self._packed is None:
            raise ValueError(f"{path}: this engine was opened from a file; copy that")
        with atomic_path(path) as temporary:
            temporary.write_bytes(self._packed.tobytes())

    def __call__(self, images: npt.NDArray[np.uint8] | Tensor) -> Tensor:
        """Logits (N, outputs), float32, of uint8 images (N, H, W, C) or normalised float ones (N, C, H, W).

        Raises ValueError for images of another type or shape.
        """
        return self._run(images, None)

    def profile(self, images: npt.NDArray[np.uint8] | Tensor, *, runs: int = 10) -> Sequence[StepTime]:
        """Milliseconds of every step for one image: the means of `runs` calls."""
        count = len(images)
        if runs < 1 or count < 1:
            raise ValueError(f"at least 1 run of 1 image is needed, got {runs} and {count}")
        self._run(images, None)
        names = self._description["steps"]
        seconds = np.zeros(len(names))
        for _ in range(runs):
            self._run(images, seconds)
        return [StepTime(name, 1e3 * total / runs / count) for name, total in zip(names, seconds.tolist(), strict=True)]

    def _run(self, images: npt.NDArray[np.uint8] | Tensor, seconds: npt.NDArray[np.float64] | None) -> Tensor:
        channels, height, width = self.image_shape
        if isinstance(images, Tensor) and images.dtype == torch.float32:
            floats = images.detach().cpu().contiguous()
            self._check_shape(tuple(floats.shape), (channels, height, width))
            logits = torch.empty(len(floats), self.outputs)
            self._engine.run_floats(floats, logits, seconds)
            return logits
        pixels = images.cpu().numpy() if isinstance(images, Tensor) else images
        check_pixels(pixels)
        self._check_shape(pixels.shape, (height, width, channels))
        logits = torch.empty(len(pixels), self.outputs)
        self._engine.run_bytes(np.ascontiguousarray(pixels), logits, seconds)
        return logits

    def _check_shape(self, got: tuple[int, ...], wanted: tuple[int, ...]) -> None:
        if got[1:] != wanted or len(got) != 4:
            raise ValueError(f"{self.spec.name} was packed for images (N, {str(wanted)[1:-1]}), got {got}")


def native_engine(
    model: Model,
    *,
    threads: int = 1,
    instruction_set: str | None = None,
    resolution: Resolution | None = None,
    features: bool = False,
    rounded: Mapping[str, RoundedLayer] = MappingProxyType({}),
) -> NativeEngine:
    """`model` in the compiled engine, for images of one `resolution`: that of its preprocessing by default.

    `instruction_set` forces avx512vnni, avx512, avx2 or portable; the best one is chosen otherwise. With `features`
    calls return pooled features. The layers that `round_layers` has `rounded` work with integers. Raises
    RuntimeError where the engine was not compiled, ValueError for an instruction set that this machine lacks,
    `UnsupportedNetwork` for a network that the engine cannot run.
    """
    made = extension()
    packed = pack(model, resolution=resolution, features=features, rounded=rounded)
    return NativeEngine(made.Engine.of_array(packed, threads, instruction_set or ""), packed)
