"""RandAugment (Cubuk et al. 2020): operations drawn at random, all equally strong."""

from typing import Final

from triscale.data.operations import Change, Operation, Ranges, change

DRAWS: Final = 3
"""Uniform numbers that each layer takes."""

RANGES: Final = Ranges(translate=100, cutout=40)

OPERATIONS: Final = tuple(Operation)
"""All 16, each as probable: the list of distort_image_with_randaugment in the authors' autoaugment.py."""


def draw_randaugment(draws: list[float], *, layers: int, magnitude: int) -> list[Change]:
    """`layers` operations at `magnitude` of 10, from `DRAWS` numbers in [0, 1) each."""
    return [
        change(OPERATIONS[int(chosen * len(OPERATIONS))], magnitude, (first, second), RANGES)
        for chosen, first, second in (draws[DRAWS * layer : DRAWS * (layer + 1)] for layer in range(layers))
    ]
