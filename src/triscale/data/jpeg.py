"""JPEG through libjpeg-turbo: the header in Python, the pixels in one call."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from triscale.data.errors import Unreadable
from triscale.data.exif import orientation, swaps_sides
from triscale.data.limits import Limits
from triscale.data.pillow import load
from triscale.data.pixels import Pixels, rgb_pixels

_EOI: Final = 0xD9
_SOS: Final = 0xDA
_APP0: Final = 0xE0
_APP1: Final = 0xE1
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODED_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Baseline, extended and progressive, Huffman and arithmetic; not lossless, not hierarchical."""
_ARITHMETIC_FRAMES: Final = frozenset({0xC9, 0xCA})
_PROGRESSIVE_FRAMES: Final = frozenset({0xC2, 0xCA})
_FILL_BYTES: Final = re.compile(rb"\xff+")

MAX_SEGMENTS: Final = 10_000
"""Before the first scan; a photograph has tens, with a large colour profile hundreds."""
MAX_SCANS: Final = 100
"""A progressive photograph has about 10; each scan costs a pass over all pixels, however few its bytes."""
MAX_STRAY_BYTES: Final = 16
"""Padding before the end marker that is no sign of damage.

Some cameras leave a few bytes there. Damaged data that ends early leaves more: in 320 copies of a photograph, each
with one bit flipped, that libjpeg noticed this way, it was 30 or more.
"""

_TRUNCATED_HEADER: Final = "the JPEG is truncated in its header"


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegHeader:
    """What comes before the first scan; width and height as stored, before turning upright."""

    width: int
    height: int
    components: int
    orientation: int
    jfif_version_at: int | None
    """Where the two bytes of the JFIF version are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    width: int
    height: int
    components: int
    progressive: bool


def read_jpeg_header(data: bytes, limits: Limits) -> JpegHeader:
    """Read the segments up to the first scan; raises `Unreadable` for a damaged or too large image.

    Source: ITU-T T.81 annex B.
    """
    frame: _Frame | None = None
    turned = 1
    jfif_version_at = None
    for marker, position, length in _segments(data):
        if marker == _SOS:
            if frame is None:
                raise Unreadable("the JPEG has no frame header")
            if frame.progressive or data[position + 2] < frame.components:
                _check_scans(data, position)
        elif marker in _FRAME_MARKERS:
            frame = _read_frame(data, position, marker, limits)
        elif marker == _APP1 and turned == 1 and data.startswith(b"Exif\0\0", position + 2):
            turned = orientation(data[position + 2 : position + length])
        elif marker == _APP0 and length >= 9 and data.startswith(b"JFIF\0", position + 2):
            jfif_version_at = position + 7
    assert frame is not None
    return JpegHeader(
        width=frame.width,
        height=frame.height,
        components=frame.components,
        orientation=turned,
        jfif_version_at=jfif_version_at,
    )


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker of each segment up to the first scan, and where its length and contents start and their bytes."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        fill = _FILL_BYTES.match(data, position)
        if fill is None and position < len(data):
            raise Unreadable(f"the JPEG header is damaged at byte {position}")
        if fill is None or fill.end() == len(data):
            raise Unreadable(_TRUNCATED_HEADER)
        marker, position = data[fill.end()], fill.end() + 1
        if marker == _EOI:
            raise Unreadable("the JPEG ends before its image data")
        length = int.from_bytes(data[position : position + 2], "big")
        if position + max(length, 2) > len(data):
            raise Unreadable(_TRUNCATED_HEADER)
        if length < 2:
            raise Unreadable(f"the JPEG header is damaged at byte {position}")
        yield marker, position, length
        if marker == _SOS:
            return
        position += length
    raise Unreadable(f"the JPEG has more than {MAX_SEGMENTS} segments before its image data")


def _read_frame(data: bytes, position: int, marker: int, limits: Limits) -> _Frame:
    """A frame header that can be decoded."""
    if marker not in _DECODED_FRAMES:
        raise Unreadable("lossless and hierarchical JPEG are not read; save it as baseline JPEG or PNG")
    if position + 8 > len(data):
        raise Unreadable(_TRUNCATED_HEADER)
    precision, height, width, components = struct.unpack_from(">BHHB", data, position + 2)
    if precision != 8:
        raise Unreadable(f"the JPEG has {precision} bits a sample; 8 are read")
    if components not in (1, 3, 4):
        raise Unreadable(f"the JPEG has {components} components; 1, 3 and 4 are read")
    limits.check_size(width=width, height=height)
    # A Huffman code takes at least a bit for each 8 x 8 block of the finest component, which may hold
    # as little as a quarter of the pixels: fewer bytes than this cannot be a whole picture.
    if marker not in _ARITHMETIC_FRAMES and width * height > 8 * 64 * 4 * len(data):
        raise Unreadable(f"{len(data)} bytes of JPEG cannot hold {width} x {height} pixels")
    return _Frame(width=width, height=height, components=components, progressive=marker in _PROGRESSIVE_FRAMES)


def _check_scans(data: bytes, first: int) -> None:
    scans = data.count(b"\xff\xda", first)
    if scans > MAX_SCANS:
        raise Unreadable(f"the JPEG has {scans} scans; at most {MAX_SCANS} are read")


def decode_jpeg(data: bytes, header: JpegHeader, limits: Limits, minimum_size: tuple[int, int] | None = None) -> Pixels:
    """Decode to RGB (H, W, 3), as stored: not yet upright.

    Pillow decodes JPEGs of unusual colour sampling, at full size and less strictly.

    With `minimum_size` (height, width, upright) the picture comes at the smallest of full, half, quarter
    and eighth size whose sides are no shorter; libjpeg then computes fewer pixels from each block.

    Any warning of libjpeg is an error, since it means missing or damaged data, except for stray bytes before
    the end marker (`MAX_STRAY_BYTES`) and an odd JFIF version. Damage inside the coded data that still
    decodes cannot be seen: JPEG has no checksum, and of 1,500 such copies libjpeg
    noticed 22%.
    """
    height, width = _reduced_size(header, minimum_size)
    space, channels = ("CMYK", 4) if header.components == 4 else ("RGB", 3)
    stored = np.empty((height, width, channels), np.uint8)
    try:
        simplejpeg.decode_jpeg(
            _with_known_version(data, header), space, min_height=height, min_width=width, buffer=stored
        )
    except ValueError as error:
        if "Could not determine subsampling" in str(error):
            return _decode_odd_sampling(data, limits)
        stray = re.search(r"(\d+) extraneous bytes before marker 0xd9", str(error))
        if stray is None or int(stray[1]) > MAX_STRAY_BYTES:
            raise Unreadable(_reason(str(error))) from None
    if channels == 3:
        return stored
    # Adobe's inverted inks: what every reader assumes of a JPEG, whether or not a marker says so.
    np.subtract(255, stored, out=stored)
    return rgb_pixels(Image.frombuffer("CMYK", (width, height), stored, "raw", "CMYK", 0, 1))


def _decode_odd_sampling(data: bytes, limits: Limits) -> Pixels:
    # TurboJPEG's interface knows the usual ratios of colour to brightness alone, libjpeg beneath it all. Pillow would
    # warn of damaged EXIF data, which it is not to look at.
    return rgb_pixels(load(JpegImageFile, data.replace(b"Exif\0\0", b"exif\0\0"), limits))


def _reduced_size(header: JpegHeader, minimum_size: tuple[int, int] | None) -> tuple[int, int]:
    if minimum_size is None:
        return header.height, header.width
    height, width = reversed(minimum_size) if swaps_sides(header.orientation) else minimum_size
    for divisor in (8, 4, 2):
        reduced = -(-header.height // divisor), -(-header.width // divisor)
        if reduced[0] >= height and reduced[1] >= width:
            return reduced
    return header.height, header.width


def _with_known_version(data: bytes, header: JpegHeader) -> bytes:
    # libjpeg warns of a JFIF version other than 1 or 2, in pictures that are otherwise whole.
    at = header.jfif_version_at
    return data if at is None or data[at] in (1, 2) else data[:at] + b"\1\1" + data[at + 2 :]


def _reason(message: str) -> str:
    if message.startswith("Premature end of JPEG file"):
        return "the JPEG is truncated: it ends before its end marker"
    return f"the JPEG is damaged: {message.removeprefix('Corrupt JPEG data: ')}"
