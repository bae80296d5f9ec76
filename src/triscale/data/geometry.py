"""Operations that move pixels, as the authors' autoaugment.py does: nearest pixel, grey where there is none.

Images are uint8 (H, W, C), sizes in pixels.
"""

from math import cos, radians, sin
from typing import Final

import cv2
import numpy as np

from triscale.data.pixels import Pixels

GREY: Final = 128


def rotate(image: Pixels, *, degrees: float) -> Pixels:
    """About the centre; counterclockwise where positive."""
    height, width = image.shape[:2]
    c, s = cos(radians(degrees)), sin(radians(degrees))
    right, bottom = width - 1, height - 1
    x, y = (right - (c * right - s * bottom)) / 2, (bottom - (s * right + c * bottom)) / 2
    return _warp(image, ((c, -s, x), (s, c, y)))


def shear(image: Pixels, *, x: float, y: float) -> Pixels:
    """The pixel at (column, row) comes from (column + x * row, row + y * column)."""
    return _warp(image, ((1, x, 0), (y, 1, 0)))


def translate(image: Pixels, *, x: float, y: float) -> Pixels:
    """The pixel at (column, row) comes from (column + x, row + y)."""
    return _warp(image, ((1, 0, x), (0, 1, y)))


_Row = tuple[float, float, float]
_IDENTITY: Final[tuple[_Row, _Row]] = ((1, 0, 0), (0, 1, 0))


def _warp(image: Pixels, sources: tuple[_Row, _Row]) -> Pixels:
    """`sources` maps (column, row, 1) of the result to a place in the image."""
    if sources == _IDENTITY:
        return image
    return cv2.warpAffine(
        image,
        np.array(sources, np.float64),
        (image.shape[1], image.shape[0]),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(GREY, GREY, GREY),
    ).astype(np.uint8, copy=False)


def cutout(image: Pixels, *, side: int, place: tuple[float, float]) -> Pixels:
    """A grey square about a random pixel; `place` is the pixel's, from the top and the left, in [0, 1)."""
    top = int(place[0] * image.shape[0]) - side // 2
    left = int(place[1] * image.shape[1]) - side // 2
    grey = image.copy()
    grey[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = GREY
    return grey
