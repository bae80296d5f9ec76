"""Numbers for people: of all that do the same, the one with the fewest decimals."""

import math
from collections.abc import Callable


def shortest(low: float, high: float, valid: Callable[[float], bool]) -> float:
    """The number from `low` to `high` with the fewest decimals that is `valid`, the higher of two.

    The interval's middle must be valid; it is the answer where nothing shorter is.
    """
    for digits in range(12):
        unit = 10.0**-digits
        highest = round(math.floor(high / unit) * unit, digits)
        for value in (highest, round(highest - unit, digits)):
            if low <= value <= high and valid(value):
                return value
    return (low + high) / 2
