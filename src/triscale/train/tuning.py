"""Fine-tuning: which stages of a trained network learn from when on, and how fast."""

import math
from dataclasses import dataclass
from enum import StrEnum

from torch import nn

from triscale.models.network import BlockModule, Network


class BatchStatistics(StrEnum):
    """What batch norms divide by in training."""

    BATCH = "batch"
    """Mean and variance of the images that pass together; their running average is kept."""
    FROZEN = "frozen"
    """The running average that the network came with, which does not change: for data sets too small for their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """How the weights that a run starts from may change; the defaults let all learn alike from the start.

    Stages count from the images, the stem being the first. Those that do not learn yet, or never, run as in inference:
    with their batch norms' statistics, without stochastic depth.
    """

    frozen_stages: int = 0
    """First stages that never learn."""
    head_epochs: float = 0.0
    """Epochs in which the classifier learns alone."""
    thaw_epochs: float = 0.0
    """Epochs from then on over which the stages follow at equal distances, the last one first."""
    stage_decay: float = 1.0
    """A stage's learning rate as a share of the next one's; the classifier has the schedule's."""
    statistics: BatchStatistics = BatchStatistics.BATCH

    def __post_init__(self) -> None:
        if self.frozen_stages < 0:
            raise ValueError(f"frozen_stages must not be negative, got {self.frozen_stages}")
        for name in ("head_epochs", "thaw_epochs"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.stage_decay <= 1:
            raise ValueError(f"stage_decay must lie in 0..1, above 0, got {self.stage_decay}")

    def first_learning_stage(self, stages: int, *, epoch: float) -> int:
        """The first of `stages` stages that learns after `epoch` epochs; `stages` where the classifier learns alone."""
        lowest = min(self.frozen_stages, stages)
        if epoch < self.head_epochs:
            return stages
        if epoch >= self.head_epochs + self.thaw_epochs:
            return lowest
        share = (epoch - self.head_epochs) / self.thaw_epochs
        return max(lowest, stages - 1 - int(share * (stages - lowest)))

    def stage_rates(self, stages: int) -> tuple[float, ...]:
        """What the learning rate of each stage is multiplied by; the classifier's is 1."""
        return tuple(self.stage_decay ** (stages - stage) for stage in range(stages))


def let_learn(network: Network, tuning: FineTuning, *, first: int) -> None:
    """Put `network` in training mode with the stages before `first` at rest."""
    network.train()
    frozen = tuning.statistics is BatchStatistics.FROZEN
    for number, stage in enumerate(network.stages):
        learns = number >= first
        stage.requires_grad_(learns).train(learns)
        for module in stage.modules():
            if isinstance(module, BlockModule):
                module.merged = frozen or not learns
            elif isinstance(module, nn.BatchNorm2d) and frozen:
                module.eval()
