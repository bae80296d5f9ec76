"""The exponential moving average of a network's weights and statistics."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


def ema_decay(step: int, *, decay: float = 0.9999) -> float:
    """Decay of the update after `step` earlier ones: min(decay, (1 + step) / (10 + step)), as TensorFlow ramps it."""
    return min(decay, (1 + step) / (10 + step))


def _averaged_names(network: nn.Module) -> Iterator[str]:
    """Trainable weights and batch-norm statistics by their names in the state dict; counters are left out."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            yield name
    for path, module in network.named_modules():
        if isinstance(module, _NormBase) and module.track_running_stats:
            yield from (f"{path}.{name}".lstrip(".") for name in ("running_mean", "running_var"))


class ExponentialMovingAverage:
    """Averages trainable weights and batch-norm statistics over updates, in float32.

    With decay 0 the average is the network itself. Raises ValueError for a decay that is not in 0..1, below 1.
    """

    def __init__(self, network: nn.Module, *, decay: float = 0.9999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in 0..1, below 1, got {decay}")
        self.decay = decay
        now = network.state_dict()
        self._tensors = {name: now[name].to(torch.float32, copy=True) for name in _averaged_names(network)}

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The average by names in the network's state dict; the live tensors, which `update` changes."""
        return self._tensors

    @torch.no_grad()
    def update(self, network: nn.Module, *, step: int) -> None:
        """Move the average towards `network`, the one it was made from, after update `step`, counted from 0."""
        if self._tensors:
            now = network.state_dict()
            weight = 1 - ema_decay(step, decay=self.decay)
            torch._foreach_lerp_(list(self._tensors.values()), [now[name].float() for name in self._tensors], weight)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave.

        Raises ValueError where names or shapes are another network's.
        """
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if shapes != {name: tensor.shape for name, tensor in self._tensors.items()}:
            raise ValueError("the average is another network's: names or shapes differ")
        for name, tensor in self._tensors.items():
            tensor.copy_(tensors[name])
