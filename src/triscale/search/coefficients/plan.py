"""Making a search for coefficients out of what a person asks for."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from triscale.arch.spec import NetworkSpec
from triscale.search.coefficients.candidates import candidates
from triscale.search.coefficients.grid import Triple, coefficient_grid
from triscale.search.coefficients.guided import GuidedPlanner
from triscale.search.coefficients.halving import HalvingPlanner
from triscale.search.coefficients.planning import CoefficientPlanner, GridPlanner


def coefficient_search(
    baseline: NetworkSpec,
    *,
    strategy: str = "grid",
    step: float = 0.05,
    tolerance: float = 0.1,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    seeds: int = 3,
    epochs: int,
    watch: Callable[[Sequence[Triple]], Iterable[Triple]] = iter,
) -> CoefficientPlanner:
    """The search for alpha, beta and gamma of `baseline` at phi = 1 (section 4 of the paper, step 1).

    Candidates are those of `coefficient_grid`, each a network of twice the multiply-adds of `baseline` within 3 %.
    `strategy` is "grid", "halving" or "guided"; `epochs` are those of a full training; `watch` goes over the grid while
    its networks are made, such as one that shows progress. Raises ValueError for what makes no search.
    """
    kinds: dict[str, type[CoefficientPlanner]] = {
        kind.strategy: kind for kind in (GridPlanner, HalvingPlanner, GuidedPlanner)
    }
    if strategy not in kinds:
        raise ValueError(f"strategy must be one of {', '.join(kinds)}, got {strategy!r}")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    triples = coefficient_grid(step=step, tolerance=tolerance, ranges=ranges)
    return kinds[strategy](
        candidates=candidates(baseline, watch(triples)), step=step, tolerance=tolerance, seeds=seeds, epochs=epochs
    )
