"""The largest network within a latency: predicted from a table while solving, measured before it is returned."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from triscale.arch.spec import NetworkSpec
from triscale.deploy.latency_table import LatencyTable
from triscale.deploy.speed import engine_latency
from triscale.scaling import Solution

_MOST_CHECKS = 8


@dataclass(slots=True)
class CheckedLatency:
    """Milliseconds of a network: measured where it was, else predicted and corrected by the last measurement."""

    table: LatencyTable
    measured_ms: dict[NetworkSpec, float] = field(default_factory=dict)
    correction: float = 1.0

    def __call__(self, spec: NetworkSpec) -> float:
        """Milliseconds."""
        known = self.measured_ms.get(spec)
        return self.correction * self.table.predict(spec) if known is None else known

    def check(self, spec: NetworkSpec) -> bool:
        """Measure `spec`, unless it was; whether that was done now."""
        if spec in self.measured_ms:
            return False
        found = engine_latency(spec, engine=self.table.engine, threads=self.table.threads)
        self.measured_ms[spec] = found.median_ms
        self.correction = found.median_ms / self.table.predict(spec)
        return True


def solve_checked(solve: Callable[[Callable[[NetworkSpec], float]], Solution], table: LatencyTable) -> Solution:
    """What `solve` finds with a latency function, once the network that it ends with was measured itself.

    Solving again with the corrected prediction goes on until a network comes out that is known to fit; after eight
    measurements every network is measured.
    """
    latency = CheckedLatency(table)
    for _ in range(_MOST_CHECKS):
        solution = solve(latency)
        if not latency.check(solution.spec):
            return replace(solution, measurements=len(latency.measured_ms))

    def measured(spec: NetworkSpec) -> float:
        latency.check(spec)
        return latency.measured_ms[spec]

    solution = solve(measured)
    return replace(solution, measurements=len(latency.measured_ms))
