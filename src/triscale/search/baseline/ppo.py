"""Proximal policy optimisation of the controller (Schulman et al. 2017), a generation of networks at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triscale.search.baseline.policy import UNDECIDED, Policy, choices_of, one_thread
from triscale.search.baseline.space import Architecture, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the controller learns. `benchmarks/search_controller.py` says what the defaults are worth."""

    hidden: int = 64
    """Width of the recurrent network."""
    learning_rate: float = 0.01
    """Adam's."""
    epochs: int = 5
    """Updates for each generation, each with all of its networks."""
    clip: float = 0.2
    """How far a decision's probability may move in a generation before it is pushed no further, as a share."""
    entropy: float = 0.01
    """Weight of the decisions' entropy, which keeps them open."""
    decay: float = 0.2
    """Of the moving averages of rewards, a generation: nearly all counts the newest, as rewards rise quickly."""
    largest: float = 3.0
    """Bound on an advantage, in standard deviations: a training that failed tells no more than a bad one."""

    def __post_init__(self) -> None:
        for name in ("hidden", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of the controller must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip", "largest"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} of the controller must be positive, got {getattr(self, name)}")
        if not self.entropy >= 0:
            raise ValueError(f"entropy of the controller must be at least 0, got {self.entropy}")
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay of the controller must be at least 0 and below 1, got {self.decay}")


class Learner:
    """A policy with what its training keeps: the optimiser's moments, the rewards' mean and spread."""

    def __init__(self, space: SearchSpace, settings: Settings, *, seed: int) -> None:
        self.space, self.settings = space, settings
        self.policy = Policy(space, hidden=settings.hidden, seed=seed)
        self._optimizer = torch.optim.Adam(self.policy.parameters(), lr=settings.learning_rate)
        self._mean = self._square = self._weight = 0.0

    def sample(self, noise_bto: NDArray[np.float64]) -> list[Architecture]:
        """Networks from the policy as it is now, one for each row of Gumbel noise."""
        with one_thread():
            return self.policy.sample(self.space, noise_bto)

    def learn(self, architectures: Sequence[Architecture], rewards: Sequence[float]) -> None:
        """Make what was rewarded above the average likelier, and what was rewarded below it less likely."""
        choices_bt = choices_of(self.space, architectures)
        decided_bt = (choices_bt != UNDECIDED).to(torch.float64)
        advantages_b = self._advantages(torch.tensor(rewards, dtype=torch.float64))
        with one_thread(), torch.enable_grad():
            before_bt = _chosen(self.policy(choices_bt), choices_bt).detach()
            for _ in range(self.settings.epochs):
                loss = self._loss(choices_bt, decided_bt, before_bt, advantages_b)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()

    def _loss(self, choices_bt: Tensor, decided_bt: Tensor, before_bt: Tensor, advantages_b: Tensor) -> Tensor:
        """The clipped objective and the entropy, averages over the decisions that matter."""
        log_probabilities_bto = self.policy(choices_bt)
        ratios_bt = (_chosen(log_probabilities_bto, choices_bt) - before_bt).exp()
        clipped_bt = ratios_bt.clamp(1 - self.settings.clip, 1 + self.settings.clip)
        gains_bt = torch.minimum(ratios_bt * advantages_b[:, None], clipped_bt * advantages_b[:, None])
        entropies_bt = -(log_probabilities_bto.exp() * log_probabilities_bto).sum(dim=-1)
        loss: Tensor = -((gains_bt + self.settings.entropy * entropies_bt) * decided_bt).sum() / decided_bt.sum()
        return loss

    def _advantages(self, rewards_b: Tensor) -> Tensor:
        """Rewards above the moving average, in moving standard deviations; this generation counts in both.

        Trainings that failed, with a reward of 0, count in neither, or one of them would hide what sets others apart.
        """
        kept, worth = self.settings.decay, rewards_b[rewards_b > 0]
        if len(worth):
            self._weight = kept * self._weight + (1 - kept)
            self._mean = kept * self._mean + (1 - kept) * float(worth.mean())
            square = float(((worth - self._mean / self._weight) ** 2).mean())
            self._square = kept * self._square + (1 - kept) * square
        if not self._weight:
            return torch.zeros_like(rewards_b)
        mean, spread = self._mean / self._weight, math.sqrt(self._square / self._weight)
        return ((rewards_b - mean) / max(spread, 1e-8)).clamp(-self.settings.largest, self.settings.largest)


def _chosen(log_probabilities_bto: Tensor, choices_bt: Tensor) -> Tensor:
    """Log-probabilities of what was chosen, (b, t)."""
    return log_probabilities_bto.gather(-1, choices_bt.clamp(min=0)[..., None])[..., 0]
