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
_DRI: Final = 0xDD
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODED_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Baseline, extended and progressive, Huffman and arithmetic; not lossless, not hierarchical."""
_ARITHMETIC_FRAMES: Final = frozenset({0xC9, 0xCA})
_PROGRESSIVE_FRAMES: Final = frozenset({0xC2, 0xCA})
_SEQUENTIAL_FRAMES: Final = frozenset({0xC0, 0xC1})
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

_ROWS_BELOW: Final = 2
_FEWEST_ROWS_SAVED: Final = 16
"""Fewer are not worth a copy of the file's bytes."""

_TRUNCATED: Final = "the JPEG is truncated: it ends before its end marker"
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
    height_at: int | None
    """Where the two bytes of the height are, if the rows of pixels come one after another: one Huffman-coded scan."""
    scan_at: int
    """Where the first scan starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    width: int
    height: int
    components: int
    progressive: bool
    height_at: int | None


def read_jpeg_header(data: bytes, limits: Limits) -> JpegHeader:
    """Read the segments up to the first scan; raises `Unreadable` for a damaged or too large image.

    Source: ITU-T T.81 annex B.
    """
    frame: _Frame | None = None
    turned = 1
    jfif_version_at = None
    in_order = True
    scan_at = len(data)
    for marker, position, length in _segments(data):
        if marker == _SOS:
            if frame is None:
                raise Unreadable("the JPEG has no frame header")
            scan_at = position
            if frame.progressive or data[position + 2] < frame.components:
                in_order = False
                _check_scans(data, position)
        elif marker in _FRAME_MARKERS:
            frame = _read_frame(data, position, marker, limits)
        elif marker == _DRI:
            in_order = False  # a cut would leave restart markers where none belong, which looks like damage
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
        height_at=frame.height_at if in_order else None,
        scan_at=scan_at,
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
    return _Frame(
        width=width,
        height=height,
        components=components,
        progressive=marker in _PROGRESSIVE_FRAMES,
        height_at=position + 3 if marker in _SEQUENTIAL_FRAMES else None,
    )


def _check_scans(data: bytes, first: int) -> None:
    scans = data.count(b"\xff\xda", first)
    if scans > MAX_SCANS:
        raise Unreadable(f"the JPEG has {scans} scans; at most {MAX_SCANS} are read")


def divisor_for(header: JpegHeader, minimum_size: tuple[int, int] | None) -> int:
    """The most that the picture can be reduced by, of 1, 2, 4 and 8, with no side under `minimum_size`.

    `minimum_size` (height, width) is of the upright picture; None does not reduce.
    """
    if minimum_size is None:
        return 1
    height, width = reversed(minimum_size) if swaps_sides(header.orientation) else minimum_size
    for divisor in (8, 4, 2):
        if -(-header.height // divisor) >= height and -(-header.width // divisor) >= width:
            return divisor
    return 1


def decode_jpeg(
    data: bytes,
    header: JpegHeader,
    limits: Limits,
    *,
    divisor: int = 1,
    rows: int | None = None,
    fine_colour: bool = True,
) -> Pixels:
    """Decode to RGB (H, W, 3), as stored: not yet upright.

    Pillow decodes JPEGs of unusual colour sampling, less strictly, and reduces them by averaging.

    With a `divisor` of 2, 4 or 8 the picture comes at a half, quarter or eighth of its sides, rounded up; libjpeg
    then computes fewer pixels from each block.

    With `rows` only the first so many rows need be right, before that reduction, and only as much of the picture may
    come back. The pixels are the same; damage further down is not noticed, except that the end marker is missing.

    Colour stored at less than full resolution is interpolated, or with `fine_colour=False` repeated, which takes a
    twelfth less time.

    Any warning of libjpeg is an error, since it means missing or damaged data, except for stray bytes before
    the end marker (`MAX_STRAY_BYTES`) and an odd JFIF version. Damage inside the coded data that still
    decodes cannot be seen: JPEG has no checksum, and of 1,500 such copies libjpeg
    noticed 22%.
    """
    stored_rows = _rows_to_decode(header, divisor, rows)
    space, channels = ("CMYK", 4) if header.components == 4 else ("RGB", 3)
    height, width = -(-stored_rows // divisor), -(-header.width // divisor)
    stored = np.empty((height, width, channels), np.uint8)
    whole = stored_rows == header.height
    if not whole and data.rfind(b"\xff\xd9") < header.scan_at:
        raise Unreadable(_TRUNCATED)
    source = _with_known_version(data, header) if whole else _with_rows(data, header, stored_rows)
    try:
        simplejpeg.decode_jpeg(
            source, space, min_height=height, min_width=width, buffer=stored, fastupsample=not fine_colour
        )
    except ValueError as error:
        if "Could not determine subsampling" in str(error):
            return _decode_odd_sampling(data, limits, divisor)
        # libjpeg reports its first warning, so one about the rows cut off says that those before were sound.
        stray = re.search(r"(\d+) extraneous bytes before marker 0xd9", str(error))
        if stray is None or (whole and int(stray[1]) > MAX_STRAY_BYTES):
            raise Unreadable(_reason(str(error))) from None
    if channels == 3:
        return stored
    # Adobe's inverted inks: what every reader assumes of a JPEG, whether or not a marker says so.
    np.subtract(255, stored, out=stored)
    return rgb_pixels(Image.frombuffer("CMYK", (width, height), stored, "raw", "CMYK", 0, 1))


def _decode_odd_sampling(data: bytes, limits: Limits, divisor: int) -> Pixels:
    # TurboJPEG's interface knows the usual ratios of colour to brightness alone, libjpeg beneath it all. Pillow would
    # warn of damaged EXIF data, which it is not to look at.
    pixels = rgb_pixels(load(JpegImageFile, data.replace(b"Exif\0\0", b"exif\0\0"), limits))
    return pixels if divisor == 1 else np.asarray(Image.fromarray(pixels).reduce(divisor))


def _rows_to_decode(header: JpegHeader, divisor: int, rows: int | None) -> int:
    """The picture's height, or less where the rows below `rows` can be left out."""
    if rows is None or header.height_at is None:
        return header.height
    # Colours stored at half the height are interpolated from the rows below as well.
    needed = divisor * (-(-rows // divisor) + _ROWS_BELOW)
    return needed if needed + _FEWEST_ROWS_SAVED <= header.height else header.height


def _with_known_version(data: bytes, header: JpegHeader) -> bytes:
    # libjpeg warns of a JFIF version other than 1 or 2, in pictures that are otherwise whole.
    at = header.jfif_version_at
    return data if at is None or data[at] in (1, 2) else data[:at] + b"\1\1" + data[at + 2 :]


def _with_rows(data: bytes, header: JpegHeader, rows: int) -> bytes:
    """A picture of fewer rows: libjpeg skips what is coded after them, which is most of the work saved."""
    assert header.height_at is not None
    changed = bytearray(data)
    changed[header.height_at : header.height_at + 2] = rows.to_bytes(2, "big")
    if header.jfif_version_at is not None and changed[header.jfif_version_at] not in (1, 2):
        changed[header.jfif_version_at : header.jfif_version_at + 2] = b"\1\1"
    return bytes(changed)


def _reason(message: str) -> str:
    if message.startswith("Premature end of JPEG file"):
        return _TRUNCATED
    return f"the JPEG is damaged: {message.removeprefix('Corrupt JPEG data: ')}"
