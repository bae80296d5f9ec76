"""Why the published relatives of a baseline are not phi = 1, 2, 3: their coefficients beside the formula's."""

import math
from dataclasses import asdict, dataclass

from triscale.arch import Coefficients, NetworkSpec
from triscale.arch.rounding import round_resolution
from triscale.arch.zoo import published
from triscale.arch.zoo.published import Published
from triscale.cli.output import print_paragraph, print_table, table
from triscale.scaling import EFFICIENTNET_SCALING
from triscale.scaling.coefficients import OwnPhi


@dataclass(frozen=True, slots=True)
class Comparison:
    """A published network's coefficients and the nearest that Equation 2 gives."""

    member: Published
    own_phi: OwnPhi
    """The phi that each coefficient asks for by itself; equal where the formula was followed."""
    phi: float
    """At which the formula multiplies multiply-adds as much, before rounding."""
    formula: Coefficients
    """At that phi."""


def compare(spec: NetworkSpec) -> Comparison | None:
    """The comparison for a published `spec`; None for others and where only the width was scaled."""
    member = published(spec.name)
    if member is None or member.depth == 1 or member.spec().stages != spec.stages:
        return None
    if member.resolution != max(spec.resolution):
        return None
    coefficients = member.coefficients
    phi = math.log(coefficients.macs_factor) / math.log(EFFICIENTNET_SCALING.macs_factor)
    own_phi = EFFICIENTNET_SCALING.own_phi(coefficients)
    return Comparison(member, own_phi, phi, EFFICIENTNET_SCALING.at(phi))


def _pixels(coefficients: Coefficients, baseline: NetworkSpec) -> int:
    return round_resolution(coefficients.resolution * baseline.resolution.height)


def as_json(comparison: Comparison) -> dict[str, object]:
    """What `describe --json` says under `published`."""
    member = comparison.member
    return {
        "baseline": member.baseline.name,
        "coefficients": asdict(member.coefficients),
        "own_phi": comparison.own_phi._asdict(),
        "nearest_phi": comparison.phi,
        "formula_coefficients": asdict(comparison.formula),
    }


def print_comparison(comparison: Comparison) -> None:
    """A small table and what it shows."""
    member, formula, own = comparison.member, comparison.formula, comparison.own_phi
    baseline, coefficients = member.baseline, member.coefficients
    scaling, unit = EFFICIENTNET_SCALING, EFFICIENTNET_SCALING.at(1)
    made = table("coefficients", "depth", "width", "resolution", "pixels")
    made.add_row(
        "published",
        *(f"{value:.3g}" for value in asdict(coefficients).values()),
        str(member.resolution),
    )
    made.add_row("phi that gives each", *(f"{phi:.2f}" for phi in own), "")
    made.add_row(
        f"formula at phi {comparison.phi:.2f}",
        *(f"{value:.2f}" for value in asdict(formula).values()),
        str(_pixels(formula, baseline)),
    )
    print()
    print_table(made)
    print()
    print_paragraph(
        f"{member.name} was set by hand near the formula, depth {scaling.alpha:g}^phi, width {scaling.beta:g}^phi, "
        f"resolution {scaling.gamma:g}^phi: no single phi gives its three coefficients. The last row multiplies "
        f"{baseline.name}'s macs as much, before rounding. At phi 1 the formula gives ({unit.depth:g}, "
        f"{unit.width:g}, {_pixels(unit, baseline)} pixels), which is nearly B2, not B1."
    )
