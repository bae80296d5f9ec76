"""What is exported: a network that takes images as bytes, and what a file says of itself."""

import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from triscale.arch.preprocessing import Preprocessing
from triscale.models.files import Model, model_metadata
from triscale.models.fold import fold_batch_norms
from triscale.models.network import Network

FORMAT, VERSION = "triscale-export", "1"
METADATA: Final = (
    "format",
    "version",
    "spec",
    "preprocessing",
    "class_names",
    "provenance",
    "input",
    "precision",
    "float32_layers",
)
"""What every exported file says of itself, each a text."""

Runner = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""From uint8 images (N, H, W, C), cropped and resized already, to logits (N, classes)."""


class PixelNetwork(nn.Module):
    """Logits (N, classes) of uint8 images (N, H, W, C): normalisation is a part of the graph."""

    def __init__(self, network: Network, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, -1, 1, 1) * 255)
        self.register_buffer("scale", 1 / (torch.tensor(preprocessing.std).view(1, -1, 1, 1) * 255))

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes)."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        logits: Tensor = self.network((pixels - self.mean) * self.scale)
        return logits


@dataclass(frozen=True, eq=False)
class Source:
    """A model on its way into files."""

    model: Model
    batch: int | None = None
    """Images that the graph takes at once; None for any number."""

    def module(self, memory_format: torch.memory_format = torch.contiguous_format) -> PixelNetwork:
        """What is exported, without batch norms; others lay images out themselves, so the plain order it is."""
        network = self.model.network
        network = copy.deepcopy(network) if network.folded else fold_batch_norms(network)
        network = network.to("cpu", torch.float32).set_memory_format(memory_format)
        return PixelNetwork(network, self.model.card.preprocessing).eval()

    @property
    def dynamic_batch(self) -> bool:
        """Whether the graph takes any number of images."""
        return self.batch is None

    @property
    def example(self) -> Tensor:
        """Images of the right shape, uint8 (N, H, W, C)."""
        return torch.zeros(self.batch or 1, *self.image_shape, dtype=torch.uint8)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        preprocessing = self.model.card.preprocessing
        return (*preprocessing.resolution, len(preprocessing.mean))

    def metadata(self, *, precision: str = "float32", kept: Iterable[str] = ()) -> dict[str, str]:
        """What the file says of itself: `METADATA`; `kept` names layers that stay in float32 in an int8 file."""
        height, width, channels = self.image_shape
        told = {
            **model_metadata(self.model.network.spec, self.model.card),
            "format": FORMAT,
            "version": VERSION,
            "input": f"uint8 (N, {height}, {width}, {channels}), cropped and resized as preprocessing says, 0..255",
            "precision": precision,
            "float32_layers": json.dumps(sorted(kept)),
        }
        return {name: told[name] for name in METADATA}


def in_batches(run: Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]], *, batch: int | None) -> Runner:
    """`run` for any number of images, where it takes `batch` at once or any number; the last batch is filled up."""
    size = batch or 16

    def runner(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        results = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            filled = part
            if batch is not None and len(part) < batch:
                filled = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), np.uint8)])
            results.append(run(filled)[: len(part)])
        return np.concatenate(results)

    return runner
