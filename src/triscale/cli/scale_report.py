"""What `triscale scale` tells: the networks side by side, how full the budget is, what the search added."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from triscale.arch import Coefficients, NetworkSpec, scale, spec_to_json
from triscale.cli.output import print_paragraph, print_table, table
from triscale.cost import network_cost
from triscale.scaling import (
    CompoundScaling,
    Figures,
    Limit,
    Solution,
    Unit,
    format_quantity,
    inference_bytes,
)

FLAGS = {Limit.MACS: "macs", Limit.PARAMS: "params", Limit.MEMORY: "memory", Limit.LATENCY: "latency"}
"""The option that sets each limit."""

_UNITS = {
    Limit.MACS: Unit.COUNT,
    Limit.PARAMS: Unit.COUNT,
    Limit.MEMORY: Unit.BYTES,
    Limit.LATENCY: Unit.MILLISECONDS,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One scaled network."""

    spec: NetworkSpec
    coefficients: Coefficients
    figures: Figures


@dataclass(frozen=True, slots=True)
class Report:
    """A scaled network beside its baseline and the formula's."""

    baseline: Candidate
    formula: Candidate
    answer: Candidate
    phi: float
    scaling: CompoundScaling
    solution: Solution | None = None
    """None where phi was given, not a budget."""


def _candidate(spec: NetworkSpec, coefficients: Coefficients) -> Candidate:
    cost = network_cost(spec)
    figures = Figures(macs=cost.macs, params=cost.params, memory_bytes=inference_bytes(spec))
    return Candidate(spec, coefficients, figures)


def at_phi(baseline: NetworkSpec, phi: float, scaling: CompoundScaling) -> Report:
    """The network that the formula gives at `phi`."""
    coefficients = scaling.at(phi)
    spec = scale(baseline, coefficients, name=f"{baseline.name}-phi{phi:g}")
    answer = _candidate(spec, coefficients)
    return Report(_candidate(baseline, Coefficients()), answer, answer, phi, scaling)


def solved(solution: Solution) -> Report:
    """The network that a budget led to."""
    formula = Candidate(solution.formula_spec, solution.scaling.at(solution.phi), solution.formula_figures)
    return Report(
        _candidate(solution.baseline, Coefficients()),
        formula,
        Candidate(solution.spec, solution.coefficients, solution.figures),
        solution.phi,
        solution.scaling,
        solution,
    )


def _candidate_json(candidate: Candidate) -> dict[str, Any]:
    figures = asdict(candidate.figures)
    return {
        "coefficients": asdict(candidate.coefficients),
        "resolution": list(candidate.spec.resolution),
        **{limit.value: figures[limit] for limit in Limit},
    }


def report_json(report: Report) -> dict[str, Any]:
    """What `--json` prints, with the same keys for a phi and for a budget."""
    solution = report.solution
    return {
        "name": report.answer.spec.name,
        **_candidate_json(report.answer),
        "budget": {limit.value: most for limit, most in solution.budget.limits.items()} if solution else {},
        "utilisation": {use.limit.value: use.share for use in solution.utilisation} if solution else {},
        "binding": solution.binding.value if solution else None,
        "phi": report.phi,
        "scaling": asdict(report.scaling),
        "formula": _candidate_json(report.formula),
        "measurements": solution.measurements if solution else 0,
        "spec": json.loads(spec_to_json(report.answer.spec)),
    }


def _rows(report: Report) -> Iterator[tuple[str, Candidate]]:
    yield "baseline", report.baseline
    yield "formula" if report.solution else "scaled", report.formula
    if report.solution is not None and not _nothing_added(report.solution):
        yield "search", report.answer


def _print_candidates(report: Report) -> None:
    latency = any(candidate.figures.latency_ms is not None for _, candidate in _rows(report))
    names = ("network", "depth", "width", "res.", "pixels", "params", "macs", "memory")
    made = table(*names, *(("latency",) if latency else ()))
    for name, candidate in _rows(report):
        factors = [f"{factor:.3g}" for factor in asdict(candidate.coefficients).values()]
        cells = [_amount(limit, candidate.figures) for limit in (Limit.PARAMS, Limit.MACS, Limit.MEMORY)]
        if latency:
            cells.append(_amount(Limit.LATENCY, candidate.figures))
        made.add_row(name, *factors, str(candidate.spec.resolution), *cells)
    print_table(made)


def _amount(limit: Limit, figures: Figures) -> str:
    amount = figures.of(limit)
    return "" if amount is None else format_quantity(amount, _UNITS[limit])


def _print_use(solution: Solution) -> None:
    formula = {use.limit: use.share for use in solution.formula_utilisation}
    made = table("limit", "budget", "formula", "search", "")
    for use in solution.utilisation:
        made.add_row(
            FLAGS[use.limit],
            format_quantity(solution.budget.limits[use.limit], _UNITS[use.limit]),
            f"{formula[use.limit]:.2%}" if use.limit in formula else "",
            f"{use.share:.2%}",
            "binds" if use.limit is solution.binding else "",
        )
    print_table(made)


def print_report(report: Report) -> None:
    """Tables of the networks and of the budget."""
    bases = zip(Coefficients.__slots__, asdict(report.scaling).values(), strict=True)
    curve = ", ".join(f"{name} {base:.4g}^phi" for name, base in bases if base != 1)
    print_paragraph(f"{report.answer.spec.name}: {report.baseline.spec.name} with {curve}")
    print()
    _print_candidates(report)
    if report.solution is None:
        return
    print()
    _print_use(report.solution)
    print()
    print_paragraph(_account(report.solution))


def _nothing_added(solution: Solution) -> bool:
    return replace(solution.formula_spec, name=solution.spec.name) == solution.spec


def _account(solution: Solution) -> str:
    """What the formula gave, what the search added, and what it took."""
    text = f"The formula's largest network inside the budget has phi {solution.phi:g}. "
    if _nothing_added(solution):
        text += "A search beside it found none that uses more."
    else:
        text += "A search beside it spent what rounding had left."
    if solution.measurements:
        text += f" Measured on this machine: {solution.measurements} networks."
    return text
