"""Solving for a measured limit, with functions whose truth is known."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from triscale.arch.spec import NetworkSpec
from triscale.arch.zoo import get_network
from triscale.cost import network_cost
from triscale.scaling import Budget, Limit, inference_bytes, solve
from triscale.scaling.latency import MOST_MEASUREMENTS

NAMES = ("efficientnet-b0", "mobilenetv1", "resnet50")


def true_ms(spec: NetworkSpec) -> float:
    """A fixed overhead, compute and memory traffic: not proportional to multiply-adds."""
    cost = network_cost(spec)
    return 2.0 + cost.macs / 40e6 + cost.activations / 5e6


class Noisy:
    """Measures `true_ms` with an error of up to `noise`, and remembers every call."""

    def __init__(self, noise: float, seed: int) -> None:
        self.noise, self.random = noise, random.Random(seed)
        self.calls: list[tuple[NetworkSpec, float]] = []

    def __call__(self, spec: NetworkSpec) -> float:
        latency_ms = true_ms(spec) * self.random.uniform(1 - self.noise, 1 + self.noise)
        self.calls.append((spec, latency_ms))
        return latency_ms


@settings(max_examples=25)
@given(st.sampled_from(NAMES), st.floats(0.4, 15), st.sampled_from([0.0, 0.02, 0.1]), st.integers(0, 1000))
def test_fits_by_its_own_measurement(name: str, factor: float, noise: float, seed: int) -> None:
    baseline, measure = get_network(name), Noisy(noise, seed)
    most_ms = factor * true_ms(baseline)
    solution = solve(baseline, Budget(latency_ms=most_ms), latency_ms=measure)
    measured = {spec.stages + spec.resolution: latency_ms for spec, latency_ms in measure.calls}
    assert len(measured) == len(measure.calls) == solution.measurements <= MOST_MEASUREMENTS
    own = measured[solution.spec.stages + solution.spec.resolution]
    assert own == solution.figures.latency_ms <= most_ms
    assert solution.binding is Limit.LATENCY
    # The truth is as far off as the measurements are, and a search without noise ends at 96% or more.
    assert 0.96 - 1.2 * noise <= true_ms(solution.spec) / most_ms <= 1 / (1 - noise) + 1e-9


def test_few_measurements_suffice() -> None:
    counts = []
    for seed, name in enumerate(NAMES * 4):
        baseline = get_network(name)
        most_ms = random.Random(seed).uniform(0.5, 10) * true_ms(baseline)
        counts.append(solve(baseline, Budget(latency_ms=most_ms), latency_ms=Noisy(0.03, seed)).measurements)
    assert sum(counts) / len(counts) < 6


def test_one_measurement_where_another_limit_binds() -> None:
    baseline, measure = get_network("efficientnet-b0"), Noisy(0.05, 0)
    solution = solve(baseline, Budget(macs=1e9, latency_ms=1000), latency_ms=measure)
    assert len(measure.calls) == solution.measurements == 1
    assert solution.binding is Limit.MACS
    assert solution.spec.stages == solve(baseline, Budget(macs=1e9)).spec.stages


def test_exact_limits_hold_where_latency_binds() -> None:
    baseline = get_network("efficientnet-b0")
    budget = Budget(macs=3e9, memory_bytes=200 << 20, latency_ms=true_ms(baseline))
    solution = solve(baseline, budget, latency_ms=Noisy(0.02, 1))
    assert solution.binding is Limit.LATENCY
    assert solution.utilisation[-1].share <= 1
    assert solution.figures.macs == network_cost(solution.spec).macs <= 3e9
    assert solution.figures.memory_bytes == inference_bytes(solution.spec) <= 200 << 20
    assert solution.spec.name == "efficientnet-b0-3g-macs-200mib-13ms"


def test_steps_in_latency() -> None:
    """Devices round work up; the answer still fits, just below a step."""
    baseline = get_network("mobilenetv1")

    def stepped(spec: NetworkSpec) -> float:
        return 5.0 * (1 + true_ms(spec) // 5)

    solution = solve(baseline, Budget(latency_ms=34), latency_ms=stepped)
    assert solution.figures.latency_ms == 30
    assert true_ms(solution.spec) > 29
    assert solution.measurements < MOST_MEASUREMENTS


@pytest.mark.parametrize("seed", range(12))
def test_wild_measurements_end(seed: int) -> None:
    generator, baseline = random.Random(seed), get_network("mobilenetv1")
    most_ms = 3 * true_ms(baseline)
    calls: list[float] = []

    def wild(spec: NetworkSpec) -> float:
        calls.append(true_ms(spec) * generator.uniform(0.3, 3))
        return calls[-1]

    solution = solve(baseline, Budget(latency_ms=most_ms), latency_ms=wild)
    assert solution.figures.latency_ms in calls
    assert solution.utilisation[0].share <= 1
    assert len(calls) <= MOST_MEASUREMENTS


@pytest.mark.parametrize("most_ms", [0.5, 4.9])
def test_too_slow_a_device(most_ms: float) -> None:
    with pytest.raises(ValueError, match=r"is too small: the smallest network .* 32x32 pixels, .* 5ms latency; raise"):
        solve(get_network("efficientnet-b0"), Budget(latency_ms=most_ms), latency_ms=lambda _: 5.0)


def test_a_constant_latency_does_not_grow_forever() -> None:
    measured: list[NetworkSpec] = []

    def constant(spec: NetworkSpec) -> float:
        measured.append(spec)
        return 5.0

    budget = Budget(latency_ms=1e6)
    with pytest.raises(ValueError, match="room for every network"):
        solve(get_network("mobilenetv1"), budget, latency_ms=constant)
    assert len(measured) <= MOST_MEASUREMENTS


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_refused_measurements(value: float) -> None:
    with pytest.raises(ValueError, match=f"must return a positive number of milliseconds, got {value}"):
        solve(get_network("efficientnet-b0"), Budget(latency_ms=10), latency_ms=lambda _: value)


@pytest.mark.parametrize(
    ("budget", "measure", "message"),
    [
        (Budget(latency_ms=10), None, "a budget of latency needs the function latency_ms"),
        (Budget(macs=1e9), true_ms, "latency_ms measures in vain: the budget has no limit on latency"),
    ],
)
def test_limit_and_function_go_together(
    budget: Budget, measure: Callable[[NetworkSpec], float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        solve(get_network("efficientnet-b0"), budget, latency_ms=measure)
