"""Which coefficients a search tries: a grid on which every network should cost twice its baseline (Equation 3)."""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

GROWTH: Final = 2.0
"""alpha * beta^2 * gamma^2, and so the multiply-adds at phi = 1, as a multiple of the baseline's."""
SMALLEST_STEP: Final = 0.005
MOST: Final = 5000
"""Candidates of a grid; nobody trains more."""


class Triple(NamedTuple):
    """Coefficients of depth, width and resolution at phi = 1."""

    alpha: float
    beta: float
    gamma: float

    @property
    def growth(self) -> float:
        """By how much multiply-adds grow, before rounding."""
        return self.alpha * self.beta**2 * self.gamma**2

    def __str__(self) -> str:
        return f"{self.alpha:g},{self.beta:g},{self.gamma:g}"


def coefficient_grid(
    *, step: float = 0.05, tolerance: float = 0.1, ranges: Mapping[str, tuple[float, float]] | None = None
) -> tuple[Triple, ...]:
    """All triples of whole steps from 1 on with |alpha * beta^2 * gamma^2 - 2| <= `tolerance`, in ascending order.

    `ranges` bounds them by name, both ends included. The paper has alpha, beta, gamma >= 1 (Equation 3). Raises
    ValueError for a step, a tolerance or a range that makes no sense, and where no triple is left.
    """
    if not (math.isfinite(step) and SMALLEST_STEP <= step <= 1):
        raise ValueError(f"the step of the grid must lie in {SMALLEST_STEP:g}..1, such as 0.05, got {step:g}")
    if not 0 <= tolerance < 1:
        raise ValueError(f"the tolerance around {GROWTH:g} must lie between 0 and 1, such as 0.1, got {tolerance:g}")
    most = GROWTH + tolerance
    alphas, betas, gammas = (
        _values(name, most**power, step, (ranges or {}).get(name))
        for name, power in (("alpha", 1.0), ("beta", 0.5), ("gamma", 0.5))
    )
    # A step of 0.05 is no binary fraction: products on the very edge of the tolerance belong to the grid.
    edge = tolerance + 1e-9
    found = [
        triple
        for alpha in alphas
        for beta in betas
        if alpha * beta**2 <= most + 1e-9
        for gamma in gammas
        if abs((triple := Triple(alpha, beta, gamma)).growth - GROWTH) <= edge
    ]
    if not found:
        raise ValueError(
            f"no alpha, beta and gamma in steps of {step:g} multiply to {GROWTH:g} within {tolerance:g}; "
            "take a smaller step, a larger tolerance or wider ranges"
        )
    if len(found) > MOST:
        raise ValueError(f"steps of {step:g} make {len(found):,} candidates, more than {MOST:,}; take a larger step")
    return tuple(found)


def _values(name: str, most: float, step: float, bounds: tuple[float, float] | None) -> list[float]:
    """Whole steps from 1 on, within `bounds`."""
    low, high = (1.0, most) if bounds is None else bounds
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"the range of {name} must be its lowest and highest value, such as 1.0,1.5, got {low},{high}")
    if low < 1:
        raise ValueError(f"{name} must be at least 1, so that nothing shrinks as a network grows, got {low:g}")
    count = math.floor((min(high, most) - 1) / step + 1e-9)
    # Ten digits are more than a step has, and lose what adding steps up gathers.
    values = [round(1 + index * step, 10) for index in range(count + 1)]
    return [value for value in values if value >= low - 1e-9]
