"""PNG: the chunks that pixels depend on, each with its checksum proved; Pillow decodes those alone."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL.PngImagePlugin import PngImageFile

from triscale.data.errors import Unreadable
from triscale.data.exif import orientation
from triscale.data.limits import Limits
from triscale.data.pillow import load
from triscale.data.pixels import Pixels, rgb_pixels

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_GREY, _COLOUR, _PALETTE = 0, 2, 3
_CHANNELS: Final = {_GREY: 1, _COLOUR: 3, _PALETTE: 1, 4: 2, 6: 4}
MAX_CHUNKS: Final = 1_000_000
_MAX_DEFLATE_RATIO: Final = 1032
"""The most that deflate shrinks: 258 bytes in two bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    width: int
    height: int
    bit_depth: int
    colour_type: int


def decode_png(data: bytes, limits: Limits) -> tuple[Pixels, int]:
    """RGB (H, W, 3) as stored, and the EXIF orientation; raises `Unreadable`.

    An animated PNG gives its default image. Text, profiles and animation, where decompression bombs hide,
    never reach the decoder. Source: PNG specification, third edition.
    """
    chunks = _pixel_chunks(data)
    header = _read_header(chunks, limits)
    transparent = None if header.colour_type == _PALETTE else chunks.pop(b"tRNS", None)
    image = load(PngImageFile, _reassemble(chunks), limits)
    pixels = rgb_pixels(image)
    if transparent is not None and header.colour_type in (_GREY, _COLOUR):
        pixels[_is_transparent(np.asarray(image), header, transparent[0])] = 255
    exif = chunks.get(b"eXIf")
    return pixels, orientation(bytes(exif[0])) if exif else 1


def _pixel_chunks(data: bytes) -> dict[bytes, list[memoryview]]:
    """Bodies of the chunks that pixels depend on, and of the EXIF data, by kind."""
    bodies: dict[bytes, list[memoryview]] = {}
    for kind, body, checksum in _walk(memoryview(data)):
        if kind in _PIXEL_CHUNKS:
            if zlib.crc32(body, zlib.crc32(kind)) != checksum:
                raise Unreadable(f"the PNG is damaged: wrong checksum in its {kind.decode()} chunk")
        elif kind != b"eXIf":
            if kind[:1].isupper():
                raise Unreadable(f"the PNG has an unknown critical chunk {kind!r}")
            continue
        bodies.setdefault(kind, []).append(body)
    return bodies


def _walk(view: memoryview) -> Iterator[tuple[bytes, memoryview, int]]:
    position = len(_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if position + 12 > len(view):
            raise Unreadable("the PNG is truncated: it ends before its end chunk")
        length, kind = struct.unpack_from(">L4s", view, position)
        body_at, checksum_at = position + 8, position + 8 + length
        if not kind.isalpha():
            raise Unreadable(f"the PNG is damaged at byte {position}")
        if checksum_at + 4 > len(view):
            raise Unreadable("the PNG is truncated: it ends before its end chunk")
        yield kind, view[body_at:checksum_at], int.from_bytes(view[checksum_at : checksum_at + 4], "big")
        if kind == b"IEND":
            return
        position = checksum_at + 4
    raise Unreadable(f"the PNG has more than {MAX_CHUNKS} chunks")


def _read_header(chunks: dict[bytes, list[memoryview]], limits: Limits) -> _Header:
    if len(chunks.get(b"IHDR", ())) != 1 or len(chunks[b"IHDR"][0]) != 13:
        raise Unreadable("the PNG has no whole header chunk")
    width, height, bit_depth, colour_type = struct.unpack_from(">LLBB", chunks[b"IHDR"][0])
    limits.check_size(width=width, height=height)
    if colour_type not in _CHANNELS:
        raise Unreadable(f"the PNG has colour type {colour_type}, which does not exist")
    if colour_type == _PALETTE and b"PLTE" not in chunks:
        raise Unreadable("the PNG has no palette")
    coded = sum(len(body) for body in chunks.get(b"IDAT", ()))
    if height * (width * bit_depth * _CHANNELS[colour_type] // 8) > _MAX_DEFLATE_RATIO * coded:
        raise Unreadable(f"{coded} bytes of PNG data cannot hold {width} x {height} pixels")
    return _Header(width=width, height=height, bit_depth=bit_depth, colour_type=colour_type)


def _reassemble(chunks: dict[bytes, list[memoryview]]) -> bytes:
    parts: list[bytes | memoryview] = [_SIGNATURE]
    for kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
        for body in chunks.get(kind, ()):
            checksum = zlib.crc32(body, zlib.crc32(kind))
            parts += (struct.pack(">L4s", len(body), kind), body, struct.pack(">L", checksum))
    return b"".join(parts)


def _is_transparent(
    samples: npt.NDArray[np.integer], header: _Header, transparent: memoryview
) -> npt.NDArray[np.bool_]:
    """Where grey or RGB samples, as Pillow decodes them, have the one transparent colour."""
    if len(transparent) != (6 if header.colour_type == _COLOUR else 2):
        raise Unreadable("the PNG is damaged: its tRNS chunk has the wrong size")
    if header.colour_type == _COLOUR:
        # Pillow keeps the high byte of 16 bits, and so does this comparison.
        key = np.frombuffer(transparent, ">u2") >> (header.bit_depth - 8)
        return np.asarray(np.all(samples == key, axis=2))
    level = int.from_bytes(transparent, "big")
    if header.bit_depth in (2, 4):  # which Pillow stretches to 8
        level = level * 255 // (2**header.bit_depth - 1)
    return np.asarray(samples == level)
