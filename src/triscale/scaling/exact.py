"""Solving for limits that a formula gives exactly: multiply-adds, parameters, memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec
from triscale.cost import network_cost
from triscale.scaling.budget import CostFunction, Figures, Limit, format_amount
from triscale.scaling.coefficients import CompoundScaling, Dimension
from triscale.scaling.curve import LARGEST_GROWTH, Curve, Point, Position, curve, phi_range
from triscale.scaling.search import SharesOf, largest_point, spend
from triscale.scaling.shortest import shortest

Limits = Mapping[Limit, float]

_SLACK = 1.5
"""The curve is searched from where a limit is exceeded this many times.

Cost may fall where a wider layer loses its projection or expansion, though hardly ever by so much.
"""

_WINDOW = 4.0
"""Doublings of multiply-adds that are listed at a time, from the top down."""


class Found(NamedTuple):
    """The largest network of the curve within some limits, and the largest near it."""

    phi: float
    formula_spec: NetworkSpec
    coefficients: Coefficients
    spec: NetworkSpec


@dataclass(frozen=True, slots=True)
class ExactSolver:
    """Solves for one baseline and one scaling."""

    baseline: NetworkSpec
    scaling: CompoundScaling
    memory_bytes: CostFunction

    def figures(self, spec: NetworkSpec) -> Figures:
        """What `spec` uses."""
        cost = network_cost(spec)
        return Figures(macs=cost.macs, params=cost.params, memory_bytes=self.memory_bytes(spec))

    def share(self, spec: NetworkSpec, limits: Limits) -> float:
        """The largest share of a limit that `spec` uses: it fits up to 1."""
        cost = network_cost(spec)
        amounts = {Limit.MACS: cost.macs, Limit.PARAMS: cost.params}
        return max(
            (self.memory_bytes(spec) if limit is Limit.MEMORY else amounts[limit]) / most
            for limit, most in limits.items()
        )

    def solve(self, limits: Limits) -> Found:
        """The largest networks within `limits`, of which there is at least one.

        Raises ValueError where even the smallest network of the curve is too large, stating what it uses, and where
        the largest is too small.
        """
        for networks in self._windows(limits):
            share = self._shares(networks, limits)
            point = largest_point(networks, share)
            if point:
                return self._found(networks, point, spend(networks, point, share))
        raise self.too_small(limits)

    def smallest(self) -> NetworkSpec:
        """The network at the curve's beginning."""
        low, _ = phi_range(self.baseline, self.scaling)
        return scale(self.baseline, self.scaling.at(low))

    def too_small(self, limits: Limits, *, latency_ms: float | None = None) -> ValueError:
        """The error for limits that the smallest network exceeds."""
        spec = self.smallest()
        figures = replace(self.figures(spec), latency_ms=latency_ms)
        used = {limit: amount for limit in Limit if (amount := figures.of(limit)) is not None}
        exceeded = [limit for limit, most in limits.items() if used[limit] > most]
        return ValueError(
            f"the budget of {', '.join(format_amount(limit, limits[limit]) for limit in exceeded)} is too small: the "
            f"smallest network that scaling {self.baseline.name} by {self.scaling} reaches, at {spec.resolution} "
            f"pixels, has {', '.join(format_amount(limit, amount) for limit, amount in used.items())}; "
            "raise the budget or start from a smaller baseline"
        )

    def _shares(self, networks: Curve, limits: Limits) -> SharesOf:
        return cache(lambda position: self.share(networks.network(position), limits))

    def _windows(self, limits: Limits) -> Iterator[Curve]:
        """The curve from its beginning to where nothing fits any more, in pieces, the last one first."""
        low, high = phi_range(self.baseline, self.scaling)
        top = self._top(limits, low=low, high=high)
        while True:
            bottom = max(low, top - _WINDOW * self.scaling.doubling)
            yield curve(self.baseline, self.scaling, low=bottom, high=top)
            if bottom == low:
                return
            top = bottom

    def _top(self, limits: Limits, *, low: float, high: float) -> float:
        """A phi above which no network fits `limits`."""

        def share(phi: float) -> float:
            return self.share(scale(self.baseline, self.scaling.at(phi)), limits)

        phi, step = 0.0, self.scaling.doubling
        while phi < high and share(phi) <= _SLACK:
            phi = min(phi + step, high)
        if phi == high and share(phi) <= 1:
            raise ValueError(
                f"the budget has room for every network that scaling {self.baseline.name} by {self.scaling} reaches "
                f"(up to {LARGEST_GROWTH:g} times its macs); lower it, limit something that this scaling changes, or "
                "start from a larger baseline"
            )
        while phi - step > low and share(phi - step) > _SLACK:
            phi -= step
        return phi

    def _found(self, networks: Curve, point: Point, position: Position) -> Found:
        formula_spec = networks.network(point.position)
        phi = shortest(point.low, point.high, lambda phi: scale(self.baseline, self.scaling.at(phi)) == formula_spec)
        coefficients = networks.coefficients(position)
        for dimension in Dimension:
            coefficients = _shortened(coefficients, dimension, networks, position)
        return Found(phi, formula_spec, coefficients, networks.network(position))


def _shortened(coefficients: Coefficients, dimension: Dimension, networks: Curve, position: Position) -> Coefficients:
    """`coefficients` with fewer decimals in one dimension, for the same network."""
    base: float = getattr(networks.scaling.at(1), dimension)
    level, spec = networks.level(dimension, position), networks.network(position)

    def having(value: float) -> Coefficients:
        return replace(coefficients, **{dimension: value})

    if base == 1:
        return coefficients
    return having(
        shortest(base**level.low, base**level.high, lambda value: scale(networks.baseline, having(value)) == spec)
    )
