"""Operations on colours, as the authors' autoaugment.py computes them, quirks included; images are uint8 (H, W, C).

Those that treat every pixel alike look it up in a table of 256 entries, one for all or one a channel.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from triscale.data.pixels import Pixels

Table = npt.NDArray[np.uint8]
"""(256,)"""

_LEVELS: Final = np.arange(256)
_DOWN: Final = -0.498
"""Added before rounding, which then cuts the fraction off, as TensorFlow's cast to integers does."""
_TO_GREY: Final = np.array([[0.2989, 0.587, 0.114, _DOWN]] * 3)
_FROM_GREY: Final = np.eye(3, 4) - np.array([[0.2989, 0.587, 0.114, 0]] * 3)


def solarize(image: Pixels, *, threshold: int) -> Pixels:
    """Invert the pixels of `threshold` and above.

    The threshold is taken modulo 256, as a TensorFlow of the time converts it: 256 inverts the whole image.
    """
    bright = (image >= threshold % 256).view(np.uint8)
    return np.bitwise_xor(image, np.negative(bright))  # minus one is 255, all bits


def solarize_add(image: Pixels, *, addition: int) -> Pixels:
    """Add to the pixels under 128."""
    return cv2.LUT(image, _solarize_add_table(addition)).astype(np.uint8, copy=False)


def _solarize_add_table(addition: int) -> Table:
    return np.where(_LEVELS < 128, np.clip(_LEVELS + addition, 0, 255), _LEVELS).astype(np.uint8)


def posterize(image: Pixels, *, bits: int) -> Pixels:
    """Keep the upper bits.

    TensorFlow shifts by 8 - bits, as an unsigned byte of at most 7: no bits, and more than 8, keep the uppermost.
    """
    shift = min((8 - bits) % 256, 7)
    return np.bitwise_and(image, np.uint8(255 >> shift << shift))


def brighten(image: Pixels, *, factor: float) -> Pixels:
    """Blend with black."""
    return cv2.LUT(image, _blended(0, factor)).astype(np.uint8, copy=False)


def contrast(image: Pixels, *, factor: float) -> Pixels:
    """Blend with the mean grey, as Pillow does.

    The authors' code means to, but divides the number of pixels by 256 in place of their sum by their number.
    """
    mean = cv2.mean(_grey(image))[0]
    return cv2.LUT(image, _blended(int(mean + 0.5), factor)).astype(np.uint8, copy=False)


def _blended(other: int, factor: float) -> Table:
    """From `other` (at factor 0) to the pixel itself (at 1) and beyond."""
    table: Table = np.clip(other + np.float32(factor) * (_LEVELS - other), 0, 255).astype(np.uint8)
    return table


def saturate(image: Pixels, *, factor: float) -> Pixels:
    """Blend with the image's grey, to within one level; Color in the policies. An image of one channel is its grey."""
    if image.shape[2] == 1 or factor == 1:
        return image
    return cv2.transform(image, _TO_GREY + factor * _FROM_GREY).astype(np.uint8, copy=False)


def _grey(image: Pixels) -> Pixels:
    grey = image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return grey.astype(np.uint8, copy=False)


_SMOOTH: Final = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def sharpen(image: Pixels, *, factor: float) -> Pixels:
    """Blend with the smoothed image, to within one level; the outermost pixels stay."""
    if factor == 1 or min(image.shape[:2]) < 3:
        return image
    smooth = cv2.filter2D(image, -1, _SMOOTH, delta=_DOWN)
    blended = cv2.addWeighted(image, factor, smooth.reshape(image.shape), 1 - factor, _DOWN).reshape(image.shape)
    sharp = image.copy()
    sharp[1:-1, 1:-1] = blended[1:-1, 1:-1]
    return sharp


def equalize(image: Pixels) -> Pixels:
    """Spread each channel's histogram evenly, as Pillow's ImageOps does."""
    planes = cv2.split(image)
    counts = np.stack([cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel() for plane in planes])
    return _by_channel(planes, _equalizing(counts))


def _equalizing(counts: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Tables (C, 256) from histograms (C, 256)."""
    at_or_under = counts.cumsum(axis=1, dtype=np.float64)
    pixels = at_or_under[:, -1:]
    brightest = counts[np.arange(len(counts)), (at_or_under == pixels).argmax(axis=1), None]
    step = (pixels - brightest) // 255
    tables: npt.NDArray[np.float64] = (at_or_under - counts + step // 2) / np.maximum(step, 1)
    return np.where(step > 0, np.minimum(tables, 255), _LEVELS)


def autocontrast(image: Pixels) -> Pixels:
    """Stretch each channel from its least and largest value to 0..255."""
    planes = cv2.split(image)
    return _by_channel(planes, [_stretching(*cv2.minMaxLoc(plane)[:2]) for plane in planes])


def _stretching(low: float, high: float) -> npt.NDArray[np.float32]:
    if low == high:
        return _LEVELS.astype(np.float32)
    scale = np.float32(255) / np.float32(high - low)
    table: npt.NDArray[np.float32] = np.clip(_LEVELS.astype(np.float32) * scale - np.float32(low) * scale, 0, 255)
    return table


def _by_channel(planes: Sequence[cv2.typing.MatLike], tables: Iterable[npt.NDArray[np.generic]]) -> Pixels:
    """Look each channel up in its own table of 256."""
    found = [cv2.LUT(plane, table.astype(np.uint8)) for plane, table in zip(planes, tables, strict=True)]
    return cv2.merge(found).astype(np.uint8, copy=False)
