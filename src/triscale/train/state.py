"""Everything that changes while a network trains, and how it goes into a checkpoint and comes back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from triscale.arch.codec import decode
from triscale.models.network import Network, build
from triscale.train.checkpoint import Checkpoint, Damaged, optimizer_tensors, restore_optimizer
from triscale.train.ema import ExponentialMovingAverage
from triscale.train.loss import decayed_parameters
from triscale.train.recipe import OptimizerKind, OptimizerSettings, Recipe
from triscale.train.rmsprop import RMSPropTF
from triscale.train.tuning import FineTuning

RATE_CUT = 0.5
"""What the learning rate is multiplied by after each roll-back."""


@dataclass(slots=True)
class Progress:
    """The parts of a run's state that are no tensors."""

    best_score: float = -1.0
    """Of the weights that were kept, by the recipe's metric, on the held-out images."""
    best_loss: float = 0.0
    """Calibrated, at that evaluation; decides between equal scores, or scores within the recipe's margin."""
    top_score: float = -1.0
    """The highest of all evaluations."""
    best_step: int = 0
    broken_images: int = 0
    """Times that an image was replaced since it could not be read."""
    rate_cuts: tuple[int, ...] = ()
    """Updates from which on the learning rate is cut once more, after the loss was no longer finite."""
    epoch_loss: float = 0.0
    """Sum over the images of the epoch so far."""
    epoch_correct: int = 0
    epoch_images: int = 0

    def rate_factor(self, step: int) -> float:
        """What the schedule's rate is multiplied by for update `step`."""
        return float(RATE_CUT ** sum(cut <= step for cut in self.rate_cuts))


_KINDS: Final[dict[OptimizerKind, frozenset[str]]] = {
    OptimizerKind.RMSPROP: frozenset({"mean_square", "momentum_buffer"}),
    OptimizerKind.ADAMW: frozenset({"step", "exp_avg", "exp_avg_sq"}),
    OptimizerKind.SGD: frozenset({"momentum_buffer"}),
}
"""What each optimizer remembers of a parameter."""


def _rmsprop(groups: list[dict[str, Any]], settings: OptimizerSettings) -> torch.optim.Optimizer:
    return RMSPropTF(groups, lr=0.0, decay=settings.decay, momentum=settings.momentum, epsilon=settings.epsilon)


def _adamw(groups: list[dict[str, Any]], settings: OptimizerSettings) -> torch.optim.Optimizer:
    betas = (settings.momentum, settings.decay)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=settings.epsilon, fused=True)


def _sgd(groups: list[dict[str, Any]], settings: OptimizerSettings) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.0, momentum=settings.momentum, nesterov=settings.momentum > 0, fused=True)


_OPTIMIZERS: dict[OptimizerKind, Callable[[list[dict[str, Any]], OptimizerSettings], torch.optim.Optimizer]] = {
    OptimizerKind.RMSPROP: _rmsprop,
    OptimizerKind.ADAMW: _adamw,
    OptimizerKind.SGD: _sgd,
}


def make_optimizer(
    network: Network, settings: OptimizerSettings, tuning: FineTuning | None = None
) -> torch.optim.Optimizer:
    """The optimizer of all weights of `network`, with a learning rate of 0 until one is set.

    Each group's `share` is what the schedule's rate is multiplied by there.
    """
    rates = (tuning or FineTuning()).stage_rates(len(network.stages))
    groups: list[dict[str, Any]] = []
    for part, share in _parts(network, rates):
        decayed, others = decayed_parameters(part, biases=settings.decay_biases)
        groups += [
            {"params": decayed, "weight_decay": settings.weight_decay, "share": share},
            {"params": others, "weight_decay": 0.0, "share": share},
        ]
    return _OPTIMIZERS[settings.kind]([group for group in groups if group["params"]], settings)


def _parts(network: Network, rates: Sequence[float]) -> list[tuple[nn.Module, float]]:
    """Stages and classifier, each with its share of the learning rate; all together where all take the same."""
    if set(rates) <= {1.0}:
        return [(network, 1.0)]
    return [*zip(network.stages, rates, strict=True), (network.classifier, 1.0)]


class TrainState:
    """Network, average, optimizer and progress after `step` updates."""

    def __init__(self, recipe: Recipe, device: torch.device, *, start: Mapping[str, Tensor] | None = None) -> None:
        self._recipe, self._start = recipe, start
        self.network: Network = build(recipe.network, seed=recipe.seed)
        if start is not None:
            self.network.load_state_dict(start)
        self.network.to(device).train()
        # Made while all learns: what rests at first keeps its place in the optimizer and in the average.
        self.optimizer = make_optimizer(self.network, recipe.optimizer, recipe.fine_tuning)
        self.average = self._new_average()
        self.progress = Progress()
        self.step = 0

    def restart(self) -> None:
        """Put back everything as it was before the first update."""
        start = self._start
        if start is None:
            start = build(self._recipe.network, seed=self._recipe.seed).state_dict()
        self.network.requires_grad_(True).load_state_dict(start)
        self.optimizer.state.clear()
        self.average = self._new_average()
        self.progress = Progress()
        self.step = 0

    def _new_average(self) -> ExponentialMovingAverage | None:
        decay = self._recipe.ema_decay
        return ExponentialMovingAverage(self.network, decay=decay) if decay else None

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next update."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]

    def judged_tensors(self) -> Mapping[str, Tensor]:
        """The state dict that is judged and kept: the average where there is one."""
        weights = dict(self.network.state_dict())
        return weights if self.average is None else {**weights, **self.average.tensors}

    def checkpoint(self) -> Checkpoint:
        """All of it; the tensors are the live ones."""
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.network.named_parameters()}
        average = {} if self.average is None else self.average.tensors
        tensors = {
            **_prefixed("network", self.network.state_dict().items()),
            **_prefixed("average", average.items()),
            **_prefixed("optimizer", optimizer_tensors(self.optimizer, names).items()),
        }
        return Checkpoint(self.step, tensors, asdict(self.progress))

    def largest_checkpoint_bytes(self) -> int:
        """What no checkpoint of this state exceeds: eight times the network, and names."""
        tensors = self.network.state_dict().values()
        network_bytes: int = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return 8 * network_bytes + (64 << 20)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put back what `checkpoint` gave.

        Raises Damaged, before anything is changed, where it holds something else than this recipe's state.
        """
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
        for name, tensor in checkpoint.tensors.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = tensor
        try:
            progress = decode(Progress, checkpoint.progress, where="its progress")
            self._check(parts)
        except ValueError as error:
            raise Damaged(f"the checkpoint of update {checkpoint.step} is not of this run: {error}") from None
        self.network.load_state_dict(parts["network"])
        if self.average is not None:
            self.average.load(parts["average"])
        restore_optimizer(self.optimizer, dict(self.network.named_parameters()), parts["optimizer"])
        self.progress, self.step = progress, checkpoint.step

    def _check(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Raise ValueError where tensors are missing, unknown, or of another shape or kind than this state's."""
        parameters = dict(self.network.named_parameters())
        kinds = _KINDS[self._recipe.optimizer.kind]
        remembered = {name.rpartition("/")[0] for name in parts["optimizer"]}
        expected: dict[str, Mapping[str, Tensor]] = {
            "network": self.network.state_dict(),
            "average": {} if self.average is None else self.average.tensors,
            "optimizer": {
                f"{name}/{kind}": torch.empty(()) if kind == "step" else parameters[name]
                for name in remembered & parameters.keys()
                for kind in kinds
            },
        }
        for part in expected.keys() | parts.keys():
            found, wanted = (
                {n: (t.shape, t.dtype) for n, t in side.get(part, {}).items()} for side in (parts, expected)
            )
            if wrong := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
                raise ValueError(f"{part}/{wrong[0]} is missing, unknown or of another shape")

    def is_finite(self) -> bool:
        """Whether all weights, statistics and averages are numbers; waits for the device."""
        judged = {} if self.average is None else self.average.tensors
        tensors = [t for t in [*self.network.state_dict().values(), *judged.values()] if t.is_floating_point()]
        # Sums of numbers of any use are finite, and a fifth of the work of looking at each.
        return bool(torch.stack([tensor.sum() for tensor in tensors]).isfinite().all())


def _prefixed(prefix: str, tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors}
