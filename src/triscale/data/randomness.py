"""Random numbers as a pure function of what they are for, so that nothing has to be saved to draw them again."""

from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Purpose(IntEnum):
    """What numbers are drawn for; different purposes never share any."""

    ORDER = 0
    AUGMENT = 1
    REPLACE = 2
    MIX = 3


def generator(purpose: Purpose, *, seed: int, epoch: int, index: int = 0) -> np.random.Generator:
    """Random numbers for image `index` in `epoch` of the run with `seed`, the same in every process.

    Philox is counter-based (Salmon et al. 2011): the key is the run, the counter's high words the place in it,
    and the lowest word, which counts the draws, starts at 0.
    """
    return np.random.Generator(np.random.Philox(key=[seed, int(purpose)], counter=[0, 0, index, epoch]))


def shuffled(count: int, *, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The numbers 0..count-1 in the order of `epoch`."""
    return generator(Purpose.ORDER, seed=seed, epoch=epoch).permutation(count)


def drawn_evenly(labels: npt.NDArray[np.int64], *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """As many numbers of images as there are `labels`, each class as often as the others to within one, in some order.

    A class's images come again only when all have come as often.
    """
    drawing = generator(Purpose.ORDER, seed=seed, epoch=epoch)
    present = np.unique(labels)
    places = drawing.permutation(np.arange(len(labels)) % len(present))
    drawn = np.empty(len(labels), np.int64)
    for number, label in enumerate(present):
        own = np.flatnonzero(labels == label)
        wanted = np.flatnonzero(places == number)
        rounds = -(-len(wanted) // len(own))
        drawn[wanted] = np.concatenate([drawing.permutation(own) for _ in range(rounds)])[: len(wanted)]
    return drawn
