"""Pixels as a network's input, on the device that computes."""

import torch
from torch import Tensor

from triscale.arch.preprocessing import Preprocessing


class Normalise:
    """Turns uint8 images into a network's input on `device`."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device | str = "cpu") -> None:
        self._mean = torch.tensor(preprocessing.mean, device=device) * 255
        self._std = torch.tensor(preprocessing.std, device=device) * 255

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, C) as float32 (N, C, H, W), channels-last in memory, mean 0 and std 1 by channel."""
        # Row by row, since elementwise kernels are slow where the innermost dimension holds three values.
        width = images.shape[2]
        rows = images.flatten(2).to(torch.float32)
        rows.sub_(self._mean.repeat(width)).div_(self._std.repeat(width))
        return rows.view(images.shape).permute(0, 3, 1, 2)
