"""Coefficients as shares of growth: how much of the doubling goes to depth, to width and to resolution."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from triscale.search.coefficients.grid import GROWTH, Triple


class Shares(NamedTuple):
    """Parts of log2(alpha * beta^2 * gamma^2), which sum to 1."""

    depth: float
    width: float
    resolution: float


def shares_of(triple: Triple) -> Shares:
    """Shares of a triple that grows multiply-adds at all; whatever it grows them by."""
    parts = (math.log2(triple.alpha), 2 * math.log2(triple.beta), 2 * math.log2(triple.gamma))
    whole = sum(parts)
    assert whole > 0
    return Shares(*(part / whole for part in parts))


def triple_of(shares: Sequence[float]) -> Triple:
    """The triple of these shares that doubles multiply-adds exactly."""
    depth, width, resolution = shares
    return Triple(GROWTH**depth, GROWTH ** (width / 2), GROWTH ** (resolution / 2))


def centre(triples: Sequence[Triple]) -> Shares:
    """The middle of several triples' shares."""
    found = [shares_of(triple) for triple in triples]
    return Shares(*(math.fsum(column) / len(found) for column in zip(*found, strict=True)))
