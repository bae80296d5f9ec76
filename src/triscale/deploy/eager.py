"""Torch as it is, arranged for inference: folded batch norms, channels-last, no gradients."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from triscale.arch.preprocessing import Preprocessing
from triscale.models.files import Model
from triscale.models.fold import fold_batch_norms

Engine = Callable[[npt.NDArray[np.uint8]], Tensor]
"""From uint8 images (N, H, W, C), cropped and resized already, to logits (N, classes) on the CPU."""


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """uint8 images (N, H, W, C) as float32 (N, C, H, W), channels-last in memory, mean 0 and std 1 by channel."""
    mean = torch.tensor(preprocessing.mean, device=images.device) * 255
    std = torch.tensor(preprocessing.std, device=images.device) * 255
    return ((images - mean) / std).permute(0, 3, 1, 2)


def eager_engine(model: Model, *, device: torch.device | str = "cpu") -> Engine:
    """`model` as a function of images; the model itself is left as it was."""
    network = fold_batch_norms(model.network).to(device)

    def run(images: npt.NDArray[np.uint8]) -> Tensor:
        with torch.inference_mode():
            batch = normalise(torch.from_numpy(images).to(device), model.card.preprocessing)
            logits: Tensor = network(batch).cpu()
        return logits

    return run
