"""AutoAugment's policy v0: the 25 pairs of operations that the paper's networks were trained with."""

from typing import Final, NamedTuple

from triscale.data.operations import Change, Operation, Ranges, change

DRAWS: Final = 7
"""Uniform numbers that one image takes: the row, and chance and two more for each of its operations."""

RANGES: Final = Ranges(translate=250, cutout=100)


class Step(NamedTuple):
    """An operation, how probable it is, and how strong, of 10."""

    operation: Operation
    probability: float
    magnitude: int


_O = Operation

POLICY_V0: Final = (
    (Step(_O.EQUALIZE, 0.8, 1), Step(_O.SHEAR_Y, 0.8, 4)),
    (Step(_O.COLOR, 0.4, 9), Step(_O.EQUALIZE, 0.6, 3)),
    (Step(_O.COLOR, 0.4, 1), Step(_O.ROTATE, 0.6, 8)),
    (Step(_O.SOLARIZE, 0.8, 3), Step(_O.EQUALIZE, 0.4, 7)),
    (Step(_O.SOLARIZE, 0.4, 2), Step(_O.SOLARIZE, 0.6, 2)),
    (Step(_O.COLOR, 0.2, 0), Step(_O.EQUALIZE, 0.8, 8)),
    (Step(_O.EQUALIZE, 0.4, 8), Step(_O.SOLARIZE_ADD, 0.8, 3)),
    (Step(_O.SHEAR_X, 0.2, 9), Step(_O.ROTATE, 0.6, 8)),
    (Step(_O.COLOR, 0.6, 1), Step(_O.EQUALIZE, 1.0, 2)),
    (Step(_O.INVERT, 0.4, 9), Step(_O.ROTATE, 0.6, 0)),
    (Step(_O.EQUALIZE, 1.0, 9), Step(_O.SHEAR_Y, 0.6, 3)),
    (Step(_O.COLOR, 0.4, 7), Step(_O.EQUALIZE, 0.6, 0)),
    (Step(_O.POSTERIZE, 0.4, 6), Step(_O.AUTO_CONTRAST, 0.4, 7)),
    (Step(_O.SOLARIZE, 0.6, 8), Step(_O.COLOR, 0.6, 9)),
    (Step(_O.SOLARIZE, 0.2, 4), Step(_O.ROTATE, 0.8, 9)),
    (Step(_O.ROTATE, 1.0, 7), Step(_O.TRANSLATE_Y, 0.8, 9)),
    (Step(_O.SHEAR_X, 0.0, 0), Step(_O.SOLARIZE, 0.8, 4)),
    (Step(_O.SHEAR_Y, 0.8, 0), Step(_O.COLOR, 0.6, 4)),
    (Step(_O.COLOR, 1.0, 0), Step(_O.ROTATE, 0.6, 2)),
    (Step(_O.EQUALIZE, 0.8, 4), Step(_O.EQUALIZE, 0.0, 8)),
    (Step(_O.EQUALIZE, 1.0, 4), Step(_O.AUTO_CONTRAST, 0.6, 2)),
    (Step(_O.SHEAR_Y, 0.4, 7), Step(_O.SOLARIZE_ADD, 0.6, 7)),
    (Step(_O.POSTERIZE, 0.8, 2), Step(_O.SOLARIZE, 0.6, 10)),
    (Step(_O.SOLARIZE, 0.6, 8), Step(_O.EQUALIZE, 0.6, 1)),
    (Step(_O.COLOR, 0.8, 6), Step(_O.ROTATE, 0.4, 5)),
)
"""Rows of policy_v0 in the authors' autoaugment.py; not the sub-policies printed in the AutoAugment paper."""


def draw_autoaugment(draws: list[float]) -> list[Change]:
    """A row, each as probable, and those of its two operations that are to happen, from `DRAWS` numbers in [0, 1)."""
    row = POLICY_V0[int(draws[0] * len(POLICY_V0))]
    drawn = (draws[1:4], draws[4:7])
    return [
        change(step.operation, step.magnitude, (first, second), RANGES)
        for step, (chance, first, second) in zip(row, drawn, strict=True)
        if chance < step.probability
    ]
