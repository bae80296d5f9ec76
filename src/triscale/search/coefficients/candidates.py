"""What each triple of a grid becomes: networks of equal multiply-adds, so that rounding favours none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from triscale.arch.spec import NetworkSpec
from triscale.cost import network_cost
from triscale.scaling.quantities import format_quantity
from triscale.search.coefficients.grid import GROWTH, Triple
from triscale.search.coefficients.nearest import nearest_network
from triscale.search.coefficients.shares import Shares, shares_of

TOLERANCE: Final = 0.03
"""By what share a candidate's multiply-adds may miss the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network, and the coefficients that lead to it."""

    triples: tuple[Triple, ...]
    """Several where rounding makes one network of them; the one nearest to a growth of 2 comes first."""
    network: NetworkSpec
    """Called after the baseline and the first of the triples."""
    macs: int
    shares: Shares
    """After rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The different networks of a grid."""

    target_macs: int
    """Twice the baseline's."""
    kept: tuple[Candidate, ...]
    left_out: tuple[Triple, ...]
    """Those without a network near enough to the target."""


def candidates(baseline: NetworkSpec, triples: Iterable[Triple], *, tolerance: float = TOLERANCE) -> Candidates:
    """Scale `baseline` along each of `triples` to twice its multiply-adds, within `tolerance`, a share.

    Each becomes the network nearest to its coefficients (`triscale.search.coefficients.nearest`), not that of usual
    rounding. Raises ValueError where no triple has such a network.
    """
    target = round(GROWTH * network_cost(baseline).macs)
    grouped: dict[NetworkSpec, list[Triple]] = {}
    left_out = []
    for triple in triples:
        network = nearest_network(baseline, triple, target, tolerance=tolerance)
        if network is None:
            left_out.append(triple)
        else:
            grouped.setdefault(network, []).append(triple)
    if not grouped:
        raise ValueError(
            f"none of {len(left_out)} candidates has a network within {tolerance:.0%} of "
            f"{format_quantity(target)} macs; begin from a larger baseline"
        )
    kept = tuple(_candidate(baseline, network, group) for network, group in grouped.items())
    return Candidates(target_macs=target, kept=kept, left_out=tuple(left_out))


def _candidate(baseline: NetworkSpec, network: NetworkSpec, triples: Sequence[Triple]) -> Candidate:
    ordered = tuple(sorted(triples, key=lambda triple: (abs(triple.growth - GROWTH), triple)))
    first = ordered[0]
    name = f"{network.name}-a{first.alpha:g}-b{first.beta:g}-g{first.gamma:g}"
    return Candidate(
        triples=ordered,
        network=replace(network, name=name),
        macs=network_cost(network).macs,
        shares=shares_of(network, baseline),
    )
