"""Solving for a budget: the largest network within limits on multiply-adds, parameters, memory and latency."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from triscale.arch.coefficients import Coefficients
from triscale.arch.spec import NetworkSpec
from triscale.cost import inference_memory
from triscale.scaling.budget import UNITS, Budget, CostFunction, Figures, Limit
from triscale.scaling.coefficients import EFFICIENTNET_SCALING, CompoundScaling, Dimension
from triscale.scaling.exact import ExactSolver, Found
from triscale.scaling.latency import Meter, solve_latency
from triscale.scaling.quantities import Unit, format_quantity


@dataclass(frozen=True, slots=True)
class Use:
    """The share of one limit that a network uses."""

    limit: Limit
    share: float
    """1 means all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The network for a budget, beside the one that the formula alone gives."""

    baseline: NetworkSpec
    budget: Budget
    scaling: CompoundScaling
    spec: NetworkSpec
    """The answer."""
    coefficients: Coefficients
    """`scale(baseline, coefficients)` gives `spec`."""
    figures: Figures
    utilisation: tuple[Use, ...]
    """How much `spec` uses of each limit."""
    binding: Limit
    """The limit that `spec` uses most of: the one that stopped its growth."""
    phi: float
    """`scale(baseline, scaling.at(phi))` gives `formula_spec`."""
    formula_spec: NetworkSpec
    """The network of the curve with the largest phi that fits. Under a limit on latency: that fits the multiply-adds
    which the search settled on."""
    formula_figures: Figures
    formula_utilisation: tuple[Use, ...]
    """Without latency where `formula_spec` was not measured."""
    measurements: int
    """How many networks had their latency measured."""


def inference_bytes(spec: NetworkSpec) -> float:
    """Peak memory of inference on one image in float32."""
    return inference_memory(spec).total_bytes


def solve(
    baseline: NetworkSpec,
    budget: Budget,
    *,
    scaling: CompoundScaling | None = None,
    only: Dimension | None = None,
    memory_bytes: CostFunction = inference_bytes,
    latency_ms: CostFunction | None = None,
) -> Solution:
    """The largest network within `budget` that scaling `baseline` gives.

    Costs are those of the rounded network, never the formula's. First comes the largest phi whose network fits; then
    depth, width and resolution are searched near it for the network that uses most of the limit that binds
    (`triscale.scaling.search.spend` says how near). Networks also shrink: phi may be negative.

    `scaling` is EFFICIENTNET_SCALING unless given; `only` scales one dimension and leaves the others alone.
    `memory_bytes` may cost another batch size or a training step. `latency_ms` measures a network and may be slow and
    noisy: it is called for a handful of networks, once each, and the answer fits by its own measurement.

    Raises ValueError where even the smallest network exceeds the budget, stating what it uses; where the budget has
    room for every network; and where `latency_ms` is missing or pointless.
    """
    if scaling and only:
        raise ValueError(f"scaling {scaling} and only {only} exclude each other; leave one out")
    if budget.latency_ms is not None and latency_ms is None:
        raise ValueError("a budget of latency needs the function latency_ms, which measures a network in milliseconds")
    if budget.latency_ms is None and latency_ms is not None:
        raise ValueError("latency_ms measures in vain: the budget has no limit on latency; set Budget(latency_ms=...)")
    chosen = CompoundScaling.along(only) if only else scaling or EFFICIENTNET_SCALING
    solver = ExactSolver(baseline, chosen, memory_bytes)
    limits: dict[Limit, float] = budget.limits
    most_ms = limits.pop(Limit.LATENCY, None)
    if latency_ms is None or most_ms is None:
        return _solution(solver, solver.solve(limits), budget, only, {})
    meter = Meter(latency_ms)
    found = solve_latency(solver, limits, most_ms=most_ms, meter=meter)
    return _solution(solver, found, budget, only, meter.results)


def _solution(
    solver: ExactSolver,
    found: Found,
    budget: Budget,
    only: Dimension | None,
    latencies_ms: Mapping[NetworkSpec, float],
) -> Solution:
    name = _name(solver.baseline, budget, only)
    figures, formula_figures = (
        replace(solver.figures(spec), latency_ms=latencies_ms.get(spec)) for spec in (found.spec, found.formula_spec)
    )
    utilisation = _utilisation(figures, budget)
    return Solution(
        baseline=solver.baseline,
        budget=budget,
        scaling=solver.scaling,
        spec=replace(found.spec, name=name),
        coefficients=found.coefficients,
        figures=figures,
        utilisation=utilisation,
        binding=max(utilisation, key=lambda use: use.share).limit,
        phi=found.phi,
        formula_spec=replace(found.formula_spec, name=f"{name}-formula"),
        formula_figures=formula_figures,
        formula_utilisation=_utilisation(formula_figures, budget),
        measurements=len(latencies_ms),
    )


def _name(baseline: NetworkSpec, budget: Budget, only: Dimension | None) -> str:
    """Such as "efficientnet-b0-1.8g-macs", "resnet50-depth-8g-macs" or "mobilenetv2-10m-params-20ms"."""
    parts = [baseline.name, *([only.value] if only else [])]
    for limit, most in budget.limits.items():
        parts.append(format_quantity(most, UNITS[limit]).lower())
        parts += [limit.value] if UNITS[limit] is Unit.COUNT else []
    return "-".join(parts)


def _utilisation(figures: Figures, budget: Budget) -> tuple[Use, ...]:
    known = {limit: figures.of(limit) for limit in budget.limits}
    return tuple(Use(limit, amount / budget.limits[limit]) for limit, amount in known.items() if amount is not None)
