"""Depth, width and resolution coefficients: what scaling multiplies (Equation 1)."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Factors of layers, channels and pixels. Published code stores width first; the paper says depth first."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    def __post_init__(self) -> None:
        for name in ("depth", "width", "resolution"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} coefficient must be positive and finite, got {value}")

    @property
    def macs_factor(self) -> float:
        """depth * width^2 * resolution^2: how multiply-adds grow before rounding (section 3.3)."""
        return self.depth * self.width**2 * self.resolution**2
