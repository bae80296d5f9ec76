"""The orientation that a camera notes in its EXIF data, and turning an image upright by it."""

import struct
from typing import Final

import cv2
import numpy as np

from triscale.data.box import Box
from triscale.data.pixels import Pixels

ORIENTATION_TAG: Final = 0x0112
_SHORT: Final = 3


def orientation(exif: bytes) -> int:
    """Orientation 1..8 from an EXIF block, with or without its `Exif` prefix.

    1, upright, for a block that is damaged or says nothing: the pixels are worth reading without it.
    Source: TIFF 6.0 section 2, EXIF 2.3 section 4.6.4.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return 1
    (start,) = struct.unpack_from(order + "L", block, 4)
    if start + 2 > len(block):
        return 1
    (count,) = struct.unpack_from(order + "H", block, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, _ = struct.unpack_from(order + "HHL", block, entry)
        if tag == ORIENTATION_TAG and kind == _SHORT:
            (value,) = struct.unpack_from(order + "H", block, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def upright(image: Pixels, *, orientation: int) -> Pixels:
    """Turn and mirror an image (H, W, C) from its stored orientation, 1..8, to the way it was seen."""
    match orientation:
        case 1:
            return image
        case 2:
            turned = cv2.flip(image, 1)
        case 3:
            turned = cv2.rotate(image, cv2.ROTATE_180)
        case 4:
            turned = cv2.flip(image, 0)
        case 5:
            turned = cv2.transpose(image)
        case 6:
            turned = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            turned = cv2.flip(cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE), 0)
        case 8:
            turned = cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)
        case _:
            raise AssertionError(f"orientation {orientation}")
    return turned.astype(np.uint8, copy=False)


def swaps_sides(orientation: int) -> bool:
    """Whether turning upright by this orientation swaps width and height."""
    return orientation >= 5


def stored_box(box: Box, *, height: int, width: int, orientation: int) -> Box:
    """Where a part of the upright image, of this height and width, lies in the image as stored."""
    top, left, tall, wide = box
    bottom, right = height - top - tall, width - left - wide
    match orientation:
        case 1:
            return box
        case 2:
            return Box(top, right, tall, wide)
        case 3:
            return Box(bottom, right, tall, wide)
        case 4:
            return Box(bottom, left, tall, wide)
        case 5:
            return Box(left, top, wide, tall)
        case 6:
            return Box(right, top, wide, tall)
        case 7:
            return Box(right, bottom, wide, tall)
        case 8:
            return Box(left, bottom, wide, tall)
        case _:
            raise AssertionError(f"orientation {orientation}")
