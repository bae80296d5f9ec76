"""A planner's candidates with the scores they have so far, as the surface takes them."""

import math
from collections.abc import Sequence

from triscale.search.coefficients.planning import CoefficientPlanner
from triscale.search.coefficients.surface import Scored
from triscale.search.planner import Trial


def scored(planner: CoefficientPlanner, trials: Sequence[Trial]) -> tuple[Scored, ...]:
    """In the order of the candidates; those that were not trained in full have no scores."""
    found = planner.candidates
    return tuple(
        Scored(shares=each.shares, excess=math.log2(each.macs / found.target_macs), scores=scores)
        for each, scores in zip(found.kept, planner.scores(trials), strict=True)
    )
