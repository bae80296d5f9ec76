"""Numbers that two programs can write down alike without sharing a file."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def wave(shape: Sequence[int], *, phase: float) -> NDArray[np.float64]:
    """sin(0.7 * index + phase) over the flattened `shape`: no two neighbours are alike, in any direction."""
    return np.sin(0.7 * np.arange(np.prod(shape)) + phase).reshape(shape)
