"""Arrays that numpy saved: images with any number of channels, such as those of satellites and microscopes."""

import io
from tokenize import TokenError
from typing import Final

import numpy as np

from triscale.data.errors import Unreadable
from triscale.data.limits import Limits
from triscale.data.pixels import Pixels, grey_to_rgb

MOST_CHANNELS: Final = 512
"""OpenCV resizes no more at once."""
_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def decode_npy(data: bytes, limits: Limits) -> tuple[Pixels, int]:
    """uint8 (H, W, C) of an array of that shape, RGB of one without channels or with one; raises `Unreadable`.

    The orientation is 1. Source: numpy.lib.format, versions 1 and 2.
    """
    file = io.BytesIO(data)
    try:
        shape, by_column, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except (KeyError, ValueError, SyntaxError, TokenError, RecursionError, MemoryError):
        raise Unreadable("the numpy array has a damaged header") from None
    if dtype != np.uint8 or len(shape) not in (2, 3):
        raise Unreadable(f"the numpy array is {dtype} {shape}; images are uint8 (height, width, channels) in 0..255")
    height, width, channels = (*shape, 1)[:3]
    limits.check_size(width=width, height=height)
    if not 1 <= channels <= MOST_CHANNELS:
        raise Unreadable(f"the numpy array has {channels} channels; 1 to {MOST_CHANNELS} are read, and come last")
    count, left = height * width * channels, len(data) - file.tell()
    limits.check_bytes(count)
    if left < count:
        raise Unreadable(f"the numpy array is truncated: {count - left} of {count} bytes are missing")
    values = np.frombuffer(data, np.uint8, count, offset=file.tell())
    pixels = np.ascontiguousarray(values.reshape((height, width, channels), order="F" if by_column else "C"))
    return (grey_to_rgb(pixels[:, :, 0]) if channels == 1 else pixels), 1
