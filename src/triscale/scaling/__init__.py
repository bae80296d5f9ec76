"""How networks grow and shrink: coefficients, budgets and the network that fits one. Standard library only."""

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.scaling.budget import Budget, CostFunction, Figures, Limit
from triscale.scaling.coefficients import (
    EFFICIENTNET_SCALING,
    CompoundScaling,
    Dimension,
    OwnPhi,
    parse_scaling,
    read_scaling,
    scaling_to_json,
)
from triscale.scaling.quantities import Unit, format_quantity, parse_quantity
from triscale.scaling.solve import Solution, Use, inference_bytes, solve

__all__ = [
    "EFFICIENTNET_SCALING",
    "Budget",
    "Coefficients",
    "CompoundScaling",
    "CostFunction",
    "Dimension",
    "Figures",
    "Limit",
    "OwnPhi",
    "Solution",
    "Unit",
    "Use",
    "format_quantity",
    "inference_bytes",
    "parse_quantity",
    "parse_scaling",
    "read_scaling",
    "scale",
    "scaling_to_json",
    "solve",
]
