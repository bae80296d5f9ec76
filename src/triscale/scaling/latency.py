"""Solving for a measured limit: few measurements, each of which may be wrong by a few percent."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from triscale.arch.spec import NetworkSpec
from triscale.scaling.budget import CostFunction, Limit
from triscale.scaling.exact import ExactSolver, Found, Limits

MOST_MEASUREMENTS = 12
"""Measuring ends after as many networks."""

_MOST_GUESSES = 40
"""Guesses that lead to networks already measured cost nothing, but end too."""

_GOOD = 0.97
"""Measuring ends once a network uses this share of the latency."""

_AIM = 0.985
"""The share that the next guess aims at."""

_CLOSE = 1.02
"""Measuring ends once the networks on both sides of the limit differ by no more than this in multiply-adds."""


@dataclass(slots=True)
class Meter:
    """Calls a latency function at most once for each network."""

    function: CostFunction
    results: dict[NetworkSpec, float] = field(default_factory=dict)

    @property
    def measurements(self) -> int:
        """How often the function was called."""
        return len(self.results)

    def __call__(self, spec: NetworkSpec) -> float:
        """Milliseconds. Raises ValueError where the function returns no positive number."""
        if spec not in self.results:
            latency_ms = self.function(spec)
            if not (math.isfinite(latency_ms) and latency_ms > 0):
                raise ValueError(
                    f"latency_ms must return a positive number of milliseconds, got {latency_ms} for {spec.name}"
                )
            self.results[spec] = latency_ms
        return self.results[spec]


class _Tried(NamedTuple):
    """A measured network."""

    macs: float
    """Where it stands: the multiply-adds asked for if it was quick enough, its own if it was too slow."""
    latency_ms: float
    found: Found


@dataclass(slots=True)
class _Bracket:
    """The largest network that was quick enough, and the smallest above it that was too slow."""

    most_ms: float
    quick: _Tried | None = None
    slow: _Tried | None = None
    run: int = 0
    """How many measurements in a row moved the same end; negative for the slow one."""

    def add(self, tried: _Tried) -> None:
        """Move one end to a network between them."""
        if tried.latency_ms <= self.most_ms:
            self.quick, self.run = tried, max(self.run, 0) + 1
        else:
            self.slow, self.run = tried, min(self.run, 0) - 1

    @property
    def closed(self) -> bool:
        """Whether measuring more is not worth its time."""
        if self.quick is None:
            return False
        near = self.slow is not None and self.slow.macs <= _CLOSE * self.quick.macs
        return near or self.quick.latency_ms >= _GOOD * self.most_ms

    def guess(self) -> float:
        """Multiply-adds of a network that should take `_AIM` of the limit."""
        aim_ms = _AIM * self.most_ms
        if self.slow is None:
            assert self.quick is not None
            return self.quick.macs * min(max(aim_ms / self.quick.latency_ms, 1.05), 4)
        if self.quick is None:
            return self.slow.macs * min(max(aim_ms / self.slow.latency_ms, 0.1), 0.8)
        if abs(self.run) > 1:
            # One end stands still, so the line through both is misleading.
            return math.sqrt(self.quick.macs * self.slow.macs)
        share = (aim_ms - self.quick.latency_ms) / (self.slow.latency_ms - self.quick.latency_ms)
        return self.quick.macs + min(max(share, 0.1), 0.9) * (self.slow.macs - self.quick.macs)


def solve_latency(solver: ExactSolver, limits: Limits, *, most_ms: float, meter: Meter) -> Found:
    """The largest network found within the exact `limits`, if any, that was measured at `most_ms` or less.

    Multiply-adds order the networks: each guess asks for an exact number of them, and a straight line through the
    measurements gives the next number. What is returned fits by its own measurement. Raises ValueError where even
    the smallest network is too slow, stating its latency.
    """
    smallest = solver.figures(solver.smallest()).macs
    macs: float = solver.figures(solver.baseline).macs
    asked = limits or {Limit.MACS: max(macs, smallest, 1)}
    bracket = _Bracket(most_ms)
    for _ in range(_MOST_GUESSES):
        found = solver.solve(asked)
        latency_ms = meter(found.spec)
        own = solver.figures(found.spec).macs
        quick = latency_ms <= most_ms
        if quick and asked is limits:
            return found
        if not quick and own <= smallest:
            raise solver.too_small({**limits, Limit.LATENCY: most_ms}, latency_ms=latency_ms)
        bracket.add(_Tried(asked[Limit.MACS] if quick else own, latency_ms, found))
        left = MOST_MEASUREMENTS - meter.measurements
        if bracket.closed or left < 1:
            break
        # The last measurement without a network that fits goes to the surest one.
        macs = smallest if bracket.quick is None and left == 1 else max(smallest, bracket.guess())
        asked = {**limits, Limit.MACS: min(macs, limits.get(Limit.MACS, math.inf))}
    assert bracket.quick is not None, "the smallest network was measured last"
    return bracket.quick.found
