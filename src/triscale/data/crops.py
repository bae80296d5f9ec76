"""Which part of an image a training step sees."""

from collections.abc import Iterator
from math import sqrt
from typing import Final

import cv2
import numpy as np

from triscale.data.box import Box, cut
from triscale.data.pixels import Pixels

ATTEMPTS: Final = 10
DRAWS: Final = 4 * ATTEMPTS
"""Uniform numbers that `random_box` may take."""
MIN_COVERED: Final = 0.1
"""Of the image: smaller boxes are drawn again."""


def random_box(
    draws: Iterator[float], *, height: int, width: int, area: tuple[float, ...], aspect: tuple[float, ...]
) -> Box | None:
    """A box of random height, aspect ratio (width / height) and place; None for the centre crop instead.

    The distribution is that of TensorFlow's sample_distorted_bounding_box as the authors call it
    (preprocessing.py), with the whole image as the one object: the aspect ratio is uniform, so is the height between
    those of the least and the largest area, boxes that cover less than `MIN_COVERED` are drawn again, and after
    `ATTEMPTS` failures, or where the box is the whole image, the centre crop takes its place.
    The last row and column are reached only by boxes of full height or width, as there.

    `draws` yields numbers in [0, 1), of which up to `DRAWS` are taken.
    """
    pixels = height * width
    for _ in range(ATTEMPTS):
        ratio = aspect[0] + next(draws) * (aspect[1] - aspect[0])
        at_height, at_top, at_left = next(draws), next(draws), next(draws)
        size = _box_size(at_height, height, width, ratio, area)
        if size is None or size[0] * size[1] < MIN_COVERED * pixels:
            continue
        if size == (height, width):
            return None
        return Box(int(at_top * (height - size[0])), int(at_left * (width - size[1])), *size)
    return None


def _box_size(draw: float, height: int, width: int, ratio: float, area: tuple[float, ...]) -> tuple[int, int] | None:
    """Height and width of a box of this aspect ratio, or None where no box meets the bounds."""
    least, largest = area[0] * height * width, area[1] * height * width
    low, high = round(sqrt(least / ratio)), round(sqrt(largest / ratio))
    if round(high * ratio) > width:
        high = int((width + 0.5 - 1e-7) / ratio)
        if round(high * ratio) > width:
            high -= 1
    high = min(high, height)
    low = min(low, high)
    box_height = low + int(draw * (high - low + 1))
    box_width = round(box_height * ratio)
    # Rounding may have crossed a bound: one row more, or one less, is tried.
    if box_height * box_width < least:
        box_height += 1
        box_width = round(box_height * ratio)
    if box_height * box_width > largest:
        box_height -= 1
        box_width = round(box_height * ratio)
    within = least <= box_height * box_width <= largest and 0 < box_width <= width and 0 < box_height <= height
    return (box_height, box_width) if within else None


def shift(image: Pixels, draws: tuple[float, float], *, padding: int) -> Pixels:
    """The image (H, W, C) moved by up to `padding` pixels down or up and right or left, mirrored where it ends.

    `draws` are in [0, 1); each of the (2 * padding + 1) squared places is as probable.
    """
    if padding == 0:
        return image
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, padding, padding, padding, padding, cv2.BORDER_REFLECT_101)
    top, left = (int(draw * (2 * padding + 1)) for draw in draws)
    moved = cut(padded.astype(np.uint8, copy=False), Box(top, left, height, width))
    return np.ascontiguousarray(moved).reshape(image.shape)
