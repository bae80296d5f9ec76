"""PBM, PGM and PPM, plain and binary, in numpy, where Pillow goes pixel by pixel."""

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from triscale.data.errors import Unreadable
from triscale.data.limits import Limits
from triscale.data.pixels import Pixels, grey_to_rgb

_SPACE: Final = rb"(?:\s|#[^\r\n]*[\r\n])+"
_BITMAP_HEADER: Final = re.compile(rb"P[14]" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})\s")
_HEADER: Final = re.compile(rb"P[2356]" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,5})\s")
_COMMENT: Final = re.compile(rb"#[^\r\n]*")
_DIGITS: Final = b"0123456789"
_WHITESPACE: Final = b" \t\n\v\f\r"

MAX_PLAIN_BYTES: Final = 64 * 2**20
"""Of samples written as text, which take several times their size to read."""


def decode_ppm(data: bytes, limits: Limits) -> tuple[Pixels, int]:
    """RGB (H, W, 3), and orientation 1; raises `Unreadable`.

    Samples are stretched from 0..maxval to 0..255; of 16 bits the high byte is kept, as in PNG.
    Source: the netpbm manual pages pbm, pgm and ppm.
    """
    kind = data[1:2]
    header = (_BITMAP_HEADER if kind in b"14" else _HEADER).match(data)
    if header is None:
        raise Unreadable("the PPM has a damaged header")
    width, height, *rest = map(int, header.groups())
    limits.check_size(width=width, height=height)
    maximum = rest[0] if rest else 1
    if not 0 < maximum < 2**16:
        raise Unreadable(f"the PPM has a maximum of {maximum}; 1 to 65535 are allowed")
    channels = 3 if kind in b"36" else 1
    body = memoryview(data)[header.end() :]
    samples: npt.NDArray[np.integer]
    match kind:
        case b"1":
            samples = _plain_bits(bytes(body), width * height)
        case b"4":
            samples = _packed_bits(body, width, height)
        case b"2" | b"3":
            samples = _plain_samples(bytes(body), width * height * channels)
        case _:
            samples = _binary_samples(body, width * height * channels, maximum)
    if samples.max() > maximum:
        raise Unreadable(f"the PPM has a sample of {samples.max()}, over its maximum of {maximum}")
    pixels = _stretch(samples, maximum).reshape(height, width, channels)
    return (grey_to_rgb(pixels[:, :, 0]) if channels == 1 else pixels), 1


def _plain_bits(body: bytes, count: int) -> Pixels:
    bits = _COMMENT.sub(b"", body).translate(None, _WHITESPACE)[:count]
    if bits.translate(None, b"01"):
        raise Unreadable("the PBM has digits other than 0 and 1")
    _check_whole(len(bits), count)
    return np.subtract(ord("1"), np.frombuffer(bits, np.uint8), dtype=np.uint8)  # 1 is black


def _packed_bits(body: memoryview, width: int, height: int) -> Pixels:
    row_bytes = -(-width // 8)
    _check_whole(len(body), row_bytes * height)
    rows = np.frombuffer(body, np.uint8, row_bytes * height).reshape(height, row_bytes)
    return (1 - np.unpackbits(rows, axis=1, count=width)).reshape(-1)


def _plain_samples(body: bytes, count: int) -> npt.NDArray[np.int32]:
    if len(body) > MAX_PLAIN_BYTES:
        raise Unreadable(f"plain PPM is read up to {MAX_PLAIN_BYTES / 2**20:g} MiB; save it as binary")
    text = _COMMENT.sub(b"", body).strip()
    if text.translate(None, _DIGITS + _WHITESPACE) or re.search(rb"\d{6}", text):
        raise Unreadable("the PPM has something other than numbers up to 65535 in its data")
    samples = np.fromstring(text.decode(), np.int32, sep=" ") if text else np.empty(0, np.int32)
    _check_whole(len(samples), count)
    return samples[:count]


def _binary_samples(body: memoryview, count: int, maximum: int) -> npt.NDArray[np.unsignedinteger]:
    dtype = np.dtype(np.uint8 if maximum < 256 else ">u2")
    _check_whole(len(body), count * dtype.itemsize)
    return np.frombuffer(body, dtype, count)


def _check_whole(found: int, wanted: int) -> None:
    if found < wanted:
        raise Unreadable(f"the PPM is truncated: {wanted - found} of {wanted} samples or bytes are missing")


def _stretch(samples: npt.NDArray[np.integer], maximum: int) -> Pixels:
    if maximum == 255:
        return samples.astype(np.uint8)
    levels: npt.NDArray[np.int64] = np.arange(maximum + 1)
    table = levels >> 8 if maximum == 65535 else (510 * levels + maximum) // (2 * maximum)
    return np.take(table.astype(np.uint8), samples)
