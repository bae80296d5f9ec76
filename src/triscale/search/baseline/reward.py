"""What the search maximises: accuracy against cost (EfficientNet paper, section 4; MnasNet, Equation 2)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from triscale.arch.spec import NetworkSpec, Operator
from triscale.cost import network_cost
from triscale.scaling.budget import CostFunction, Limit, format_amount
from triscale.search.baseline.encoding import to_spec
from triscale.search.baseline.space import Decisions, SearchSpace, StageChoices

EXPONENT: Final = -0.07
"""The paper's: a network of twice the cost is worth 5 % more accuracy, and no more."""
HARD_EXPONENTS: Final = (0.0, -1.0)
"""Below and above a target that is a limit (MnasNet, section 3)."""
NEAR: Final = 4.0
"""A target may be so many times beyond the space's smallest or largest network."""


def macs(spec: NetworkSpec) -> float:
    """Multiply-adds of one image."""
    return network_cost(spec).macs


class CostKind(StrEnum):
    """What a cost is."""

    MACS = "macs"
    LATENCY = "latency"
    """Milliseconds."""

    def quantity(self, amount: float) -> str:
        """Such as "3.1M macs"."""
        return format_amount({CostKind.MACS: Limit.MACS, CostKind.LATENCY: Limit.LATENCY}[self], amount)


def reward(
    score: float, *, cost: float, target: float, exponent: float = EXPONENT, below: float | None = None
) -> float:
    """score x (cost / target)^exponent; `cost` and `target` in one unit.

    `below` is another exponent for costs below the target, as in MnasNet's Equation 3: with 0 nothing is gained there.
    The EfficientNet paper costs multiply-adds, MnasNet latency. Raises ValueError for a cost or target that is not
    positive, and for a positive exponent, which would reward cost.
    """
    _check(target, exponent, below)
    if not (math.isfinite(cost) and cost > 0):
        raise ValueError(f"the cost of a network must be positive, got {cost}")
    chosen = below if below is not None and cost < target else exponent
    return score * float((cost / target) ** chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A reward with its target."""

    target: float
    """Multiply-adds, or milliseconds."""
    exponent: float = EXPONENT
    below: float | None = None
    """Another exponent for costs below the target, if any."""
    kind: CostKind = CostKind.MACS
    cost: CostFunction = macs
    """Of a network; latency is measured by a function that is given here."""

    def __post_init__(self) -> None:
        _check(self.target, self.exponent, self.below)
        if self.kind is CostKind.LATENCY and self.cost is macs:
            raise ValueError("latency is measured by a function of yours; give it as cost")

    def reward(self, score: float, spec: NetworkSpec) -> float:
        """Of a network that scores so."""
        return reward(score, cost=self.cost(spec), target=self.target, exponent=self.exponent, below=self.below)


def check_target(space: SearchSpace, objective: Objective) -> None:
    """Raises ValueError where no network of `space` comes near the target, within a factor of 4.

    The cost of two networks is asked for: those of the fewest and of the most multiply-adds.
    """
    smallest, largest = (objective.cost(extreme(space, best)) for best in (min, max))
    for bound, far, fewer, remedy in (
        (smallest, smallest > NEAR * objective.target, "fewer", "raise the target or begin from a smaller network"),
        (largest, largest * NEAR < objective.target, "more", "lower the target or begin from a larger network"),
    ):
        if far:
            than, target = objective.kind.quantity(bound), objective.kind.quantity(objective.target)
            raise ValueError(f"no network of this space has {fewer} than {than}; the target is {target}: {remedy}")


def extreme(space: SearchSpace, best: Callable[..., int]) -> NetworkSpec:
    """The network of the fewest (`min`) or the most (`max`) multiply-adds.

    They grow with channels, layers, kernel and squeeze-and-excitation of every operator. Which operator needs most
    depends on the channels around it, and for given channels on nothing else, so each stage is tried on its own.
    """
    made = [_extreme(stage, best, kind=0) for stage in space.stages]
    for index, stage in enumerate(space.stages):
        candidates = [_extreme(stage, best, kind=kind) for kind in range(len(stage.kind))]
        costs = [macs(to_spec(space, (*made[:index], candidate, *made[index + 1 :]))) for candidate in candidates]
        made[index] = candidates[costs.index(best(costs))]
    return to_spec(space, tuple(made))


def _extreme(stage: StageChoices, best: Callable[..., int], *, kind: int) -> Decisions:
    return Decisions(
        kind=stage.kind[kind],
        kernel=best(stage.kernel),
        se_ratio=best(stage.se_ratio) if stage.kind[kind].operator is Operator.MBCONV else None,
        channels=best(stage.channels),
        layers=best(stage.layers),
        skip=None,
    )


def _check(target: float, exponent: float, below: float | None) -> None:
    if not (math.isfinite(target) and target > 0):
        raise ValueError(f"the target must be positive, got {target}")
    for each in (exponent, *([] if below is None else [below])):
        if not (math.isfinite(each) and each <= 0):
            raise ValueError(f"the exponent must be at most 0, as the paper's -0.07, got {each}")
