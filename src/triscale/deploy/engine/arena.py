"""Where feature maps lie: maps that are never alive at the same time share memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triscale.arch.ops import Shape
from triscale.deploy.engine.steps import Map, Step

BLOCK = 16
"""Channels side by side in memory; the last block is padded with zeros."""


def map_floats(shape: Shape) -> int:
    """Floats of a map with its padded channels."""
    return -(-shape.channels // BLOCK) * BLOCK * shape.height * shape.width


@dataclass(frozen=True, slots=True)
class Arena:
    """Offsets of maps, by their number, and the size of all, in floats."""

    offsets: Mapping[int, int]
    floats: int


@dataclass(slots=True)
class _Life:
    shape: Shape
    first: int
    last: int


def _lives(steps: Sequence[Step]) -> dict[int, _Life]:
    lives: dict[int, _Life] = {}

    def use(used: Map | None, index: int) -> None:
        if used is not None:
            lives.setdefault(used.number, _Life(used.shape, index, index)).last = index

    for index, step in enumerate(steps):
        for used in (step.output, step.input, step.residual):
            use(used, index)
    return lives


def place_maps(steps: Sequence[Step]) -> Arena:
    """The lowest free place for every map, the largest maps first."""
    placed: list[tuple[int, int, _Life]] = []
    offsets: dict[int, int] = {}
    for number, life in sorted(_lives(steps).items(), key=lambda item: -map_floats(item[1].shape)):
        size, offset = map_floats(life.shape), 0
        for begin, end, other in sorted(placed, key=lambda place: place[0]):
            if life.first <= other.last and other.first <= life.last and begin < offset + size and offset < end:
                offset = end
        placed.append((offset, offset + size, life))
        offsets[number] = offset
    return Arena(offsets, max((end for _, end, _ in placed), default=0))
