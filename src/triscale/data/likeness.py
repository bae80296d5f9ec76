"""Pictures that are the same or nearly the same, found among millions without comparing each with each."""

from itertools import combinations, pairwise
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from triscale.data.pixels import Pixels, to_look_at

SMALLEST_SIDE: Final = 32
"""Pixels; below it different pictures look alike, and only equal ones are told."""
_GRID: Final = 9
_THUMB: Final = 8
_FLAT: Final = 4.0
"""Standard deviation of a thumbnail's greys; a picture below it has no outline to go by."""
_ACROSS_BITS: Final = 3
_DOWN_BITS: Final = 4
_THUMB_DIFFERENCE: Final = 2.0
"""Largest mean difference of thumbnails, of 255 greys.

Six photographs saved anew at JPEG quality 30 or at a fifth of their size flip up to 2 bits across and 4 down and move
the greys by up to 0.3.
"""
_BANDS: Final = (13, 13, 13, 13, 12)
"""Bits of an outline. Of five bands, three flipped bits leave two as they were: those find the pair."""
_NEIGHBOURS: Final = 8

Hashes = npt.NDArray[np.uint64]


class Outline(NamedTuple):
    """What is left of a picture when size, compression and small retouches are forgotten."""

    across: int
    """64 bits: where greys of an 8 x 8 grid rise from left to right (Krawetz's difference hash, 2013)."""
    down: int
    """64 bits: where they rise from top to bottom."""
    thumb: bytes
    """8 x 8 greys."""


def outline(image: Pixels) -> Outline:
    """Of a picture (H, W, C)."""
    grey = cv2.cvtColor(to_look_at(image), cv2.COLOR_RGB2GRAY)
    grid = cv2.resize(grey, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    thumb = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    across, down = grid[:-1, 1:] > grid[:-1, :-1], grid[1:, :-1] > grid[:-1, :-1]
    return Outline(_number(across), _number(down), thumb.tobytes())


def _number(bits: npt.NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def equal_groups(digests: npt.NDArray[np.void]) -> list[npt.NDArray[np.int64]]:
    """The numbers of the images that share a digest with another, (N,) digests."""
    order = np.argsort(digests, kind="stable").astype(np.int64)
    ordered = digests[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(order) else order
    return [group for group in np.split(order, starts[1:]) if len(group) > 1]


def alike_groups(across: Hashes, down: Hashes, thumbs: Pixels) -> list[list[int]]:
    """The numbers of pictures that look alike: outlines (N,) and thumbnails (N, 64), groups of two and more.

    Likeness is passed on: a group holds all that a chain of pairs connects. Pictures without contrast are left
    out. Linear in N but for sorting; in a crowd of equal outlines each picture is compared with a few others.
    """
    plain = np.flatnonzero(thumbs.std(axis=1, dtype=np.float32) >= _FLAT)
    parents = np.arange(len(across))
    for key in _keys(across[plain]):
        order = plain[np.argsort(key, kind="stable")]
        ordered = np.sort(key)
        for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
            near = ordered[step:] == ordered[:-step]
            first, second = order[:-step][near], order[step:][near]
            alike = _alike(across, down, thumbs, first, second)
            for one, other in zip(first[alike].tolist(), second[alike].tolist(), strict=True):
                parents[_root(parents, one)] = _root(parents, other)
    groups: dict[int, list[int]] = {}
    for number in plain.tolist():
        groups.setdefault(_root(parents, number), []).append(number)
    return sorted(group for group in groups.values() if len(group) > 1)


def _keys(hashes: Hashes) -> list[Hashes]:
    """For every two bands, those bits of each hash."""
    edges = np.concatenate([[0], np.cumsum(_BANDS)])
    masks = [((1 << int(last)) - 1) ^ ((1 << int(first)) - 1) for first, last in pairwise(edges)]
    return [hashes & np.uint64(one | other) for one, other in combinations(masks, 2)]


def _alike(
    across: Hashes, down: Hashes, thumbs: Pixels, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    apart = np.abs(thumbs[first].astype(np.int16) - thumbs[second]).mean(axis=1)
    rises = np.bitwise_count(across[first] ^ across[second])
    falls = np.bitwise_count(down[first] ^ down[second])
    alike: npt.NDArray[np.bool_] = (rises <= _ACROSS_BITS) & (falls <= _DOWN_BITS) & (apart <= _THUMB_DIFFERENCE)
    return alike


def _root(parents: npt.NDArray[np.int64], number: int) -> int:
    while (parent := int(parents[number])) != number:
        parents[number] = parents[parent]
        number = parent
    return number
