"""How full the solver makes a budget, beside the formula and beside bisection, and how long it takes.

    python benchmarks/solving.py [--steps 12] [--json]

Every baseline of the zoo is solved for budgets from half to a hundred times its own cost, evenly spaced in the
logarithm, within multiply-adds, parameters and memory. Compared on the same budgets:

- formula: phi = log(budget / baseline) / log(alpha * beta^2 * gamma^2), as the paper reads, network then rounded. It
  may exceed the budget; for parameters its factor is alpha * beta^2, and for memory it has none.
- bisection: halving phi between a network that fits and one that does not, 60 times, costing the rounded network.
- curve: the largest network of the curve, which `Solution.formula_spec` holds.
- search: the solver's answer.

Then one dimension at a time, then latency: a known function, measured with errors of up to 0, 2 and 10%, where the
answer's true latency is compared with the budget. Times are of the processor.
"""

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec
from triscale.arch.zoo import BASELINES
from triscale.cost import network_cost
from triscale.scaling import (
    EFFICIENTNET_SCALING,
    Budget,
    CostFunction,
    Dimension,
    Limit,
    inference_bytes,
    solve,
)

ALPHA, BETA = EFFICIENTNET_SCALING.alpha, EFFICIENTNET_SCALING.beta


def macs(spec: NetworkSpec) -> float:
    """Multiply-adds."""
    return network_cost(spec).macs


def params(spec: NetworkSpec) -> float:
    """Parameters."""
    return network_cost(spec).params


@dataclass(frozen=True, slots=True)
class Resource:
    """A limit, its cost function, and how the formula says it grows with one phi."""

    limit: Limit
    cost: CostFunction
    growth: float | None


RESOURCES = (
    Resource(Limit.MACS, macs, EFFICIENTNET_SCALING.macs_factor),
    Resource(Limit.PARAMS, params, ALPHA * BETA**2),
    Resource(Limit.MEMORY, inference_bytes, None),
)


@dataclass(frozen=True, slots=True)
class Row:
    """Shares of the budget over all baselines and budgets, for one way to choose a network."""

    what: str
    way: str
    budgets: int
    lowest: float
    median: float
    highest: float
    over: int
    """Budgets exceeded."""
    median_s: float
    slowest_s: float


def factors(steps: int) -> list[float]:
    """Multiples of the baseline's cost from 0.5 to 100."""
    return [0.5 * 200 ** (step / (steps - 1)) for step in range(steps)]


def at_phi(baseline: NetworkSpec, phi: float) -> NetworkSpec:
    """The rounded network of the curve."""
    return scale(baseline, EFFICIENTNET_SCALING.at(phi))


def by_formula(baseline: NetworkSpec, resource: Resource, most: float) -> NetworkSpec:
    """The network at the phi that the formula names."""
    assert resource.growth
    return at_phi(baseline, math.log(most / resource.cost(baseline)) / math.log(resource.growth))


def by_bisection(baseline: NetworkSpec, resource: Resource, most: float) -> NetworkSpec:
    """The last network that fitted while halving an interval of phi."""
    low, high = -8.0, 16.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if resource.cost(at_phi(baseline, middle)) <= most else (low, middle)
    return at_phi(baseline, low)


def row(what: str, way: str, shares: Iterable[float], times: Iterable[float]) -> Row:
    """Statistics of one way."""
    found, elapsed = list(shares), list(times)
    over = sum(share > 1 for share in found)
    return Row(
        what,
        way,
        len(found),
        min(found),
        statistics.median(found),
        max(found),
        over,
        statistics.median(elapsed),
        max(elapsed),
    )


def compound(resource: Resource, steps: int) -> Iterator[Row]:
    """All ways for one resource."""
    shares: dict[str, list[float]] = {way: [] for way in ("formula", "bisection", "curve", "search")}
    times: dict[str, list[float]] = {way: [] for way in shares}

    def add(way: str, spec: NetworkSpec, most: float, elapsed_s: float) -> None:
        shares[way].append(resource.cost(spec) / most)
        times[way].append(elapsed_s)

    for baseline in BASELINES:
        for factor in factors(steps):
            most = factor * resource.cost(baseline)
            for way, method in (("formula", by_formula), ("bisection", by_bisection)):
                if way != "formula" or resource.growth:
                    started_s = time.process_time()
                    spec = method(baseline, resource, most)
                    add(way, spec, most, time.process_time() - started_s)
            started_s = time.process_time()
            solution = solve(baseline, Budget(**{resource.limit.value: most}))
            elapsed_s = time.process_time() - started_s
            add("curve", solution.formula_spec, most, elapsed_s)
            add("search", solution.spec, most, elapsed_s)
    return (row(resource.limit.value, way, shares[way], times[way]) for way in shares if shares[way])


def one_dimension(dimension: Dimension, steps: int) -> Row:
    """Multiply-adds with one dimension growing: there is nothing beside the curve to search."""
    shares, times = [], []
    for baseline in BASELINES:
        for factor in factors(steps):
            started_s = time.process_time()
            solution = solve(baseline, Budget(macs=factor * macs(baseline)), only=dimension)
            times.append(time.process_time() - started_s)
            shares.append(solution.utilisation[0].share)
    return row("macs", f"only {dimension}", shares, times)


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Solving for latency with noisy measurements."""

    noise: float
    budgets: int
    mean_measurements: float
    most_measurements: int
    measured_highest: float
    """Largest share of the budget, by the answer's own measurement."""
    true_lowest: float
    true_median: float
    true_highest: float


def true_ms(spec: NetworkSpec) -> float:
    """Overhead, compute and memory traffic of a made-up device."""
    cost = network_cost(spec)
    return 2.0 + cost.macs / 40e6 + cost.activations / 5e6


def latency(noise: float, steps: int) -> LatencyRow:
    """Every baseline, with budgets from half to ten times its latency."""
    counts, measured, true = [], [], []
    generator = random.Random(0)

    def measure(spec: NetworkSpec) -> float:
        return true_ms(spec) * generator.uniform(1 - noise, 1 + noise)

    for baseline in BASELINES:
        for step in range(steps):
            most_ms = true_ms(baseline) * 0.5 * 20 ** (step / (steps - 1))
            solution = solve(baseline, Budget(latency_ms=most_ms), latency_ms=measure)
            counts.append(solution.measurements)
            measured.append(solution.utilisation[0].share)
            true.append(true_ms(solution.spec) / most_ms)
    return LatencyRow(
        noise,
        len(counts),
        statistics.mean(counts),
        max(counts),
        max(measured),
        min(true),
        statistics.median(true),
        max(true),
    )


def exact_rows(steps: int) -> Iterator[Row]:
    """Everything that needs no measuring."""
    for resource in RESOURCES:
        yield from compound(resource, steps)
    for dimension in Dimension:
        yield one_dimension(dimension, steps // 2)


def print_exact(rows: Iterable[Row]) -> None:
    """A table that grows while the benchmark runs."""
    print(f"Share of the budget used, {len(BASELINES)} baselines, budgets 0.5 to 100 times the baseline's cost\n")
    print(
        f"{'limit':13}{'way':16}{'budgets':>8}{'lowest':>9}{'median':>8}{'highest':>9}{'over':>5}{'time':>8}{'slowest':>9}"
    )
    for one in rows:
        print(
            f"{one.what:13}{one.way:16}{one.budgets:8}{one.lowest:9.1%}{one.median:8.1%}{one.highest:9.1%}{one.over:5}"
            f"{one.median_s * 1e3:6.0f}ms{one.slowest_s * 1e3:7.0f}ms",
            flush=True,
        )


def print_latency(rows: Iterable[LatencyRow]) -> None:
    """A table that grows while the benchmark runs."""
    print("\nLatency, budgets 0.5 to 10 times the baseline's: measurements, and share of the budget\n")
    print(
        f"{'noise':>6}{'budgets':>9}{'mean':>6}{'most':>6}{'measured at most':>18}"
        f"{'true lowest':>13}{'median':>8}{'highest':>9}"
    )
    for one in rows:
        print(
            f"{one.noise:6.0%}{one.budgets:9}{one.mean_measurements:6.1f}{one.most_measurements:6}"
            f"{one.measured_highest:18.1%}{one.true_lowest:13.1%}{one.true_median:8.1%}{one.true_highest:9.1%}",
            flush=True,
        )


def main() -> None:
    """Print two tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="budgets for each baseline and limit, at least 4")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    exact = exact_rows(options.steps)
    noisy = (latency(noise, options.steps // 2) for noise in (0.0, 0.02, 0.1))
    if options.json:
        print(json.dumps({"exact": [asdict(one) for one in exact], "latency": [asdict(one) for one in noisy]}))
        return
    print_exact(exact)
    print_latency(noisy)


if __name__ == "__main__":
    sys.exit(main())
