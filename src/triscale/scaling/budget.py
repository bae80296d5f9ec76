"""What a network may use, and how much of it one uses."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from triscale.arch.spec import NetworkSpec
from triscale.scaling.quantities import Unit, format_quantity

CostFunction = Callable[[NetworkSpec], float]
"""One number for a network: bytes, milliseconds."""


class Limit(StrEnum):
    """A resource that a budget may limit; the members name the fields of `Budget` and `Figures`."""

    MACS = "macs"
    PARAMS = "params"
    MEMORY = "memory_bytes"
    LATENCY = "latency_ms"


UNITS = {
    Limit.MACS: Unit.COUNT,
    Limit.PARAMS: Unit.COUNT,
    Limit.MEMORY: Unit.BYTES,
    Limit.LATENCY: Unit.MILLISECONDS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most a network may use of each resource; None where it may use any amount. At least one is set."""

    macs: float | None = None
    """Multiply-adds for one image."""
    params: float | None = None
    """Trained values."""
    memory_bytes: float | None = None
    """Peak memory of inference."""
    latency_ms: float | None = None
    """Milliseconds for one image or batch, whatever the latency function measures."""

    def __post_init__(self) -> None:
        if not self.limits:
            raise ValueError("a budget needs at least one limit: macs, params, memory_bytes or latency_ms")
        for limit, most in self.limits.items():
            if not (math.isfinite(most) and most > 0):
                raise ValueError(f"{limit} of a budget must be positive and finite, got {most}")

    @property
    def limits(self) -> dict[Limit, float]:
        """The limits that are set."""
        values = {limit: getattr(self, limit) for limit in Limit}
        return {limit: most for limit, most in values.items() if most is not None}

    def __str__(self) -> str:
        return ", ".join(format_amount(limit, most) for limit, most in self.limits.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a network uses. None: never measured."""

    macs: int
    params: int
    memory_bytes: float
    latency_ms: float | None = None

    def of(self, limit: Limit) -> float | None:
        """The amount that `limit` bounds."""
        value: float | None = getattr(self, limit)
        return value


def format_amount(limit: Limit, amount: float) -> str:
    """An amount with the name of its resource: "386M macs"."""
    name = {Limit.MACS: " macs", Limit.PARAMS: " params", Limit.MEMORY: " memory", Limit.LATENCY: " latency"}[limit]
    return format_quantity(amount, UNITS[limit]) + name
