"""Torch as it is, arranged for inference: folded batch norms, channels-last, no gradients."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from triscale.data.pixels import check_pixels
from triscale.models.files import Model
from triscale.models.fold import fold_batch_norms
from triscale.models.inputs import Normalise

Engine = Callable[[npt.NDArray[np.uint8]], Tensor]
"""From uint8 images (N, H, W, C), cropped and resized already, to logits (N, classes) on the CPU."""


def eager_engine(model: Model, *, device: torch.device | str = "cpu", features: bool = False) -> Engine:
    """`model` as a function of images, which raises ValueError for others than bytes; the model is left as it was.

    With `features` it gives pooled features (N, num_features) in place of logits.
    """
    network = fold_batch_norms(model.network).to(device)
    normalise = Normalise(model.card.preprocessing, device)

    def run(images: npt.NDArray[np.uint8]) -> Tensor:
        check_pixels(images)
        with torch.inference_mode():
            inputs = normalise(torch.from_numpy(images).to(device))
            out: Tensor = network.forward_head(network.features(inputs), pre_logits=features)
        return out.cpu()

    return run
