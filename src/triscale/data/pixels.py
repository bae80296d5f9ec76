"""From any of Pillow's pixel modes to RGB bytes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from triscale.data.errors import Unreadable

Pixels = npt.NDArray[np.uint8]
"""(H, W, C), or (H, W) where said."""

_PLAIN_MODES: Final = frozenset({"1", "L", "P", "RGB", "CMYK", "YCbCr"})
_ALPHA_MODES: Final = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_DEEP_MODES: Final = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})

_REMEDY: Final = "scale them to 0..255 and no further, since the model itself normalises"

_BAND_PIXELS: Final = 4_000_000
"""Converted at a time, so that a large picture is never held in three copies."""


def rgb_pixels(image: Image.Image, *, sample_bits: int = 16) -> Pixels:
    """RGB (H, W, 3) of a loaded picture; raises `Unreadable` for a mode without a clear meaning.

    - Transparency shows white, as on a page: the colours that files keep under transparent pixels are
      arbitrary, often black, which would make a black drawing vanish.
    - Integer samples of 16 bits keep their high byte, so full range maps to full range, in grey as in
      colour; `sample_bits` is less for TIFF's 12-bit samples, which fill the low bits.
    - Float samples are taken as 0..1 if all of them are, else as 0..255; others are refused.
    - Colour profiles are ignored, as peers do.
    """
    if image.mode in _DEEP_MODES:
        return grey_to_rgb((np.asarray(image) >> (sample_bits - 8)).astype(np.uint8))
    if image.mode == "F":
        return _float_pixels(np.asarray(image))
    if image.mode in _ALPHA_MODES or (image.mode in _PLAIN_MODES and "transparency" in image.info):
        convert = _over_white
    elif image.mode in _PLAIN_MODES:
        convert = _as_rgb
    else:
        raise Unreadable(f"pixels of kind {image.mode} have no agreed range; save it with 8 or 16 bits")
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, band in _bands(image):
        pixels[top : top + band.height] = np.asarray(convert(band))
    return pixels


def check_pixels(images: npt.NDArray[Any]) -> None:
    """Raise ValueError unless `images` are bytes, as they are before any normalisation."""
    if images.dtype != np.uint8:
        there = f" in {images.min():g}..{images.max():g}" if images.size and images.dtype.kind in "fiu" else ""
        raise ValueError(f"images must be uint8 in 0..255, got {images.dtype}{there}; {_REMEDY}")


def check_range(images: Iterable[Pixels]) -> None:
    """Raise ValueError where pixels 0..1 were made bytes: none of them exceeds 1. A single picture may be black."""
    highest = [int(image.max(initial=0)) for image in images]
    if highest == [1] or (len(highest) > 1 and max(highest) <= 1):
        raise ValueError(f"images must be uint8 in 0..255, got none above {max(highest)}; {_REMEDY}")


def grey_to_rgb(grey: Pixels) -> Pixels:
    """(H, W) to (H, W, 3)."""
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


def by_channel(image: Pixels, change: Callable[[Pixels], npt.NDArray[Any]]) -> Pixels:
    """(H, W, C) changed one channel, (H, W), after the other: for libraries that take three or four at most."""
    planes = [change(np.ascontiguousarray(image[:, :, channel])) for channel in range(image.shape[2])]
    return np.stack(planes, axis=2).astype(np.uint8, copy=False)


def shrunk(image: Pixels, size: tuple[int, int]) -> Pixels:
    """(H, W, C) averaged down to `size`: width and height."""

    def shrink(pixels: Pixels) -> npt.NDArray[Any]:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)

    # OpenCV averages four channels at most.
    return by_channel(image, shrink) if image.shape[2] > 4 else shrink(image).astype(np.uint8, copy=False)


def to_look_at(image: Pixels) -> Pixels:
    """RGB (H, W, 3) of (H, W, C): the first three channels, or the first alone as grey."""
    return np.ascontiguousarray(image[:, :, :3]) if image.shape[2] >= 3 else grey_to_rgb(image[:, :, 0].copy())


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, _BAND_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _over_white(image: Image.Image) -> Image.Image:
    coloured = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(coloured, mask=coloured)
    return page


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _float_pixels(samples: npt.NDArray[np.float32]) -> Pixels:
    low, high = float(samples.min()), float(samples.max())
    if not (low >= 0 and high <= 255):  # NaN too
        raise Unreadable(f"float samples must lie in 0..1 or 0..255, these in {low:g}..{high:g}")
    scale = np.float32(255 if high <= 1 else 1)
    return grey_to_rgb(np.rint(samples * scale).astype(np.uint8))
