"""The learning rate as a pure function of the step."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_IMAGES = 256
"""Base rates are given for batches of so many images."""


class ScheduleKind(StrEnum):
    """How the learning rate falls once it is warm."""

    EXPONENTIAL = "exponential"
    """By a factor every few epochs, counted from the first step of all; the paper's."""
    COSINE = "cosine"
    """Half a cosine from the end of the warm-up to zero at the end (Loshchilov & Hutter 2017)."""
    LINEAR = "linear"
    """Straight from the end of the warm-up to zero at the end; with a long warm-up, a one-cycle triangle."""
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the learning rate changes; the defaults are the paper's (section 5.2)."""

    kind: ScheduleKind = ScheduleKind.EXPONENTIAL
    base_rate: float = 0.016
    """The peak for batches of 256 images; it grows with the batch."""
    warmup_epochs: float = 5.0
    """How long the rate climbs from zero, in a straight line."""
    decay: float = 0.97
    """Factor of one stair; exponential only."""
    decay_epochs: float = 2.4
    """Length of one stair; exponential only."""
    staircase: bool = True
    """Whether the rate falls in stairs, or smoothly by as much; exponential only."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.base_rate) and self.base_rate > 0):
            raise ValueError(f"base_rate must be positive, got {self.base_rate}")
        if not (math.isfinite(self.warmup_epochs) and self.warmup_epochs >= 0):
            raise ValueError(f"warmup_epochs must not be negative, got {self.warmup_epochs}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must lie in 0..1, above 0, got {self.decay}")
        if not (math.isfinite(self.decay_epochs) and self.decay_epochs > 0):
            raise ValueError(f"decay_epochs must be positive, got {self.decay_epochs}")


def scaled_peak(*, base_rate: float, batch_size: int) -> float:
    """The peak rate for updates from `batch_size` images, in proportion (Goyal et al. 2017)."""
    return base_rate * batch_size / _IMAGES


def rate(schedule: Schedule, *, step: int, steps_per_epoch: float, total_steps: int, batch_size: int) -> float:
    """The learning rate of update `step`, counted from 0, where an update takes `batch_size` images.

    With the paper's schedule, as in the authors' code: stairs are counted from step 0, so the rate after the warm-up
    is not the peak but peak * 0.97^2. `steps_per_epoch` need not be whole.
    """
    peak = scaled_peak(base_rate=schedule.base_rate, batch_size=batch_size)
    warmup_steps = int(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup_steps:
        return peak * step / warmup_steps
    return peak * _FALLS[schedule.kind](
        schedule, _Place(step=step, steps_per_epoch=steps_per_epoch, warmup_steps=warmup_steps, total_steps=total_steps)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A step after the warm-up."""

    step: int
    steps_per_epoch: float
    warmup_steps: int
    total_steps: int

    @property
    def fallen(self) -> float:
        """How much of the way from the warm-up to the end lies behind, in 0..1."""
        return min((self.step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1), 1.0)


def _exponential(schedule: Schedule, place: _Place) -> float:
    stairs = place.step / (schedule.decay_epochs * place.steps_per_epoch)
    return schedule.decay ** (math.floor(stairs) if schedule.staircase else stairs)


def _cosine(_: Schedule, place: _Place) -> float:
    return (1 + math.cos(math.pi * place.fallen)) / 2


def _linear(_: Schedule, place: _Place) -> float:
    return 1 - place.fallen


def _constant(_schedule: Schedule, _place: _Place) -> float:
    return 1.0


_FALLS: dict[ScheduleKind, Callable[[Schedule, _Place], float]] = {
    ScheduleKind.EXPONENTIAL: _exponential,
    ScheduleKind.COSINE: _cosine,
    ScheduleKind.LINEAR: _linear,
    ScheduleKind.CONSTANT: _constant,
}
