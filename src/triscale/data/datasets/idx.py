"""The IDX format of MNIST and its descendants, read strictly."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from triscale.data.pixels import Pixels

LARGEST_BYTES: Final = 1 << 30
_UNSIGNED_BYTE: Final = 8


def read_idx(path: Path, *, dimensions: int) -> Pixels:
    """The uint8 array in an IDX file, gzip-compressed or not.

    Two zero bytes, a byte for the type, one for the number of dimensions, each dimension as a big-endian 32-bit
    number, then the values and nothing else (http://yann.lecun.com/exdb/mnist/).
    Raises ValueError for anything else, and for more than `LARGEST_BYTES`.
    """
    data = unpack_idx(path)
    header = 4 + 4 * dimensions
    if len(data) < header or data[:2] != b"\0\0":
        raise ValueError(f"{path} is no IDX file")
    if data[2] != _UNSIGNED_BYTE or data[3] != dimensions:
        raise ValueError(f"{path} holds type {data[2]} in {data[3]} dimensions; expected are bytes (8) in {dimensions}")
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    if math.prod(shape) != len(data) - header:
        size = " x ".join(map(str, shape))
        raise ValueError(f"{path} announces {size} values and holds {len(data) - header}: it is damaged or truncated")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def unpack_idx(path: Path) -> bytes:
    """What is in a file, unpacked where it is compressed; raises ValueError for damage and for too much."""
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as file:
            data: bytes = file.read(LARGEST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or truncated: {error}") from None
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"{path} holds more than {LARGEST_BYTES >> 20} MiB")
    return data
