"""The search for alpha, beta and gamma (EfficientNet paper, section 3.3 and step 1 of section 4)."""

from triscale.search.coefficients.grid import Triple
from triscale.search.coefficients.plan import coefficient_search
from triscale.search.coefficients.planning import CoefficientPlanner
from triscale.search.coefficients.replay import Replayed, guided_on_grid
from triscale.search.coefficients.summary import CoefficientsSummary, summary

__all__ = [
    "CoefficientPlanner",
    "CoefficientsSummary",
    "Replayed",
    "Triple",
    "coefficient_search",
    "guided_on_grid",
    "summary",
]
