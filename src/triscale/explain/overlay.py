"""A map in colour over its picture, at the picture's full resolution."""

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from triscale.data.box import Box
from triscale.data.pixels import Pixels

Map = npt.NDArray[np.float32]
"""(h, w), or (H, W) once drawn out to a picture's pixels."""

COLOURS: Final = "inferno"
"""matplotlib's name. Its lightness rises evenly, also for colour-blind readers and in print without colour."""
STRONGEST: Final = 0.85
"""Share of the colour where the map is highest."""
FADED: Final = 0.35
"""Share of the picture's own colours that stays, lest an orange thing look like evidence."""
UNSEEN: Final = 0.4
"""Brightness of what the network did not see."""
_LEVELS: Final = 256
_BAND_PIXELS: Final = 1 << 20
"""Coloured at a time, so that a large picture is never held in float."""


def _cubic(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Catmull-Rom's kernel, which passes through its samples (a = -1/2, as Pillow's bicubic)."""
    x = np.abs(distance)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _weights(pixels: int, cells: int) -> Map:
    """(pixels, cells): what each cell gives to each pixel of an axis that the cells share evenly."""
    at = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    left = np.floor(at).astype(np.int64)
    weights = np.zeros((pixels, cells))
    for offset in (-1, 0, 1, 2):
        # Beyond the outermost cells their values go on.
        source = np.clip(left + offset, 0, cells - 1)
        np.add.at(weights, (np.arange(pixels), source), _cubic(at - (left + offset)))
    return weights.astype(np.float32)


def drawn_out(values: Map, box: Box) -> Map:
    """A map (h, w) for every pixel of the part of a picture that the network saw, (box.height, box.width).

    The cells share the part evenly, as half-pixel-centred resizing has it; a cell's value stands at its middle, and
    between the middles it is cubic.
    """
    down, across = _weights(box.height, values.shape[0]), _weights(box.width, values.shape[1])
    return np.asarray(down @ values @ across.T, np.float32)


@lru_cache
def _palette() -> tuple[Pixels, Pixels]:
    """For each level, the share of the picture that stays, of 255, and the colour that is added; (1, levels, 3)."""
    from matplotlib import colormaps

    level = np.linspace(0, 1, _LEVELS)
    share = STRONGEST * level[:, None] ** 0.7
    stays, adds = 1 - share.repeat(3, axis=1), share * colormaps[COLOURS](level)[:, :3]
    return np.rint(255 * stays[None]).astype(np.uint8), np.rint(255 * adds[None]).astype(np.uint8)


def _grey(picture: Pixels, brightness: float) -> Pixels:
    """The picture's lightness in all three channels."""
    grey = cv2.convertScaleAbs(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), alpha=brightness)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


def _faded(picture: Pixels) -> Pixels:
    mixed = cv2.addWeighted(picture, FADED, _grey(picture, 1), 1 - FADED, 0)
    return mixed.astype(np.uint8, copy=False)


def _coloured(picture: Pixels, level: Pixels) -> Pixels:
    """A picture (H, W, 3) with the palette's levels (H, W) over it."""
    stays, adds = _palette()
    levels = cv2.cvtColor(level, cv2.COLOR_GRAY2RGB)
    kept = cv2.multiply(_faded(picture), cv2.LUT(levels, stays), scale=1 / 255)
    return cv2.add(kept, cv2.LUT(levels, adds)).astype(np.uint8, copy=False)


def overlay(picture: Pixels, values: Map, box: Box, *, highest: float) -> Pixels:
    """The picture (H, W, 3) in faint colours with a map (h, w) over the `box` that the network saw; the rest is dark.

    `highest` is the value that gets the strongest colour, so that maps of several networks can share a scale; 0 and
    less, which speak against the class, get none.
    """
    scale = (_LEVELS - 1) / highest if highest > 0 else 0.0
    down, across = _weights(box.height, values.shape[0]), _weights(box.width, values.shape[1])
    shown = _grey(picture, UNSEEN)
    band = max(1, _BAND_PIXELS // box.width)
    for start in range(0, box.height, band):
        drawn = down[start : start + band] @ values @ across.T
        level = np.clip(drawn * scale, 0, _LEVELS - 1).astype(np.uint8)
        rows = slice(box.top + start, box.top + start + len(level))
        part = rows, slice(box.left, box.left + box.width)
        shown[part] = _coloured(picture[part], level)
    return shown
