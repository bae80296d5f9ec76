"""TIFF: the first page, rewritten to the tags that its pixels depend on; Pillow and libtiff decode that."""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL.TiffImagePlugin import TiffImageFile

from triscale.data.errors import Unreadable
from triscale.data.exif import ORIENTATION_TAG
from triscale.data.limits import Limits
from triscale.data.pillow import load
from triscale.data.pixels import Pixels, rgb_pixels

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325

_LEFT_OUT: Final = {
    _WIDTH: 0,
    _HEIGHT: 0,
    _COMPRESSION: 1,
    _PHOTOMETRIC: 0,
    266: 1,  # fill order
    ORIENTATION_TAG: 1,
    _SAMPLES: 1,
    _STRIP_ROWS: 2**32 - 1,
    _PLANAR: 1,
    292: 0,  # T4 options
    293: 0,  # T6 options
    317: 1,  # predictor
    _TILE_WIDTH: 0,
    _TILE_HEIGHT: 0,
    531: 1,  # YCbCr positioning
}
"""Tags of one integer, and what each means when it is left out."""
_PIECE_TAGS: Final = frozenset({_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES})
"""One value for each strip or tile: where it is, how long it is."""
_LIST_TAGS: Final = frozenset(
    {
        _BITS,
        320,  # colour map
        338,  # extra samples
        339,  # sample format
        347,  # JPEG tables
        529,  # YCbCr coefficients
        530,  # YCbCr subsampling
        532,  # reference black and white
    }
)
_LONGEST_LIST: Final = 3 * 2**16
"""The colour map of 16-bit indices."""
_MOST_SAMPLES: Final = 6
_TYPE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_INTEGERS: Final = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}

_SEPARATE_PLANES: Final = 2
_UNCOMPRESSED: Final = 1
_OLD_JPEG: Final = 6
_WHITE_IS_ZERO: Final = 0

_TRUNCATED: Final = "the TIFF is truncated: it points behind its end"


def decode_tiff(data: bytes, limits: Limits) -> tuple[Pixels, int]:
    """RGB (H, W, 3) of the first page as stored, and its orientation; raises `Unreadable`.

    Other pages, EXIF data and profiles never reach the decoder, which warns of damage there. Of damage in
    compressed pixels libtiff itself writes a line to standard error, which Python cannot keep it from.
    Source: TIFF 6.0 sections 2, 3 and 15, and the BigTIFF design.
    """
    directory = _Directory(data)
    limits.check_size(width=directory.number(_WIDTH), height=directory.number(_HEIGHT))
    if directory.number(_COMPRESSION) == _OLD_JPEG:
        raise Unreadable("the TIFF has old-style JPEG compression, which is not read")
    _check_pieces(directory, limits)
    image = load(TiffImageFile, directory.alone(), limits)
    pixels = rgb_pixels(image, sample_bits=directory.first(_BITS))
    if directory.number(_PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode in ("I;16", "F"):
        np.subtract(255, pixels, out=pixels)  # Pillow does so for its other modes alone
    turned = directory.number(ORIENTATION_TAG)
    return pixels, turned if 1 <= turned <= 8 else 1


def _check_pieces(directory: "_Directory", limits: Limits) -> None:
    """Strips or tiles must lie in the file and cover the picture once.

    Pillow leaves what is missing black without a word, and decodes a piece as often as it is listed.
    """
    width, height = directory.number(_WIDTH), directory.number(_HEIGHT)
    if _STRIP_OFFSETS in directory.tags:
        across, down = width, min(directory.number(_STRIP_ROWS), height)
        offsets_tag, bytes_tag = _STRIP_OFFSETS, _STRIP_BYTES
    else:
        across, down = directory.number(_TILE_WIDTH), directory.number(_TILE_HEIGHT)
        offsets_tag, bytes_tag = _TILE_OFFSETS, _TILE_BYTES
    if across < 1 or down < 1 or across * down > limits.pixels:
        raise Unreadable(f"the TIFF has pieces of {across} x {down} pixels")
    samples = directory.number(_SAMPLES)
    if not 1 <= samples <= _MOST_SAMPLES:
        raise Unreadable(f"the TIFF has {samples} samples a pixel; 1 to {_MOST_SAMPLES} are read")
    planes = samples if directory.number(_PLANAR) == _SEPARATE_PLANES else 1
    wanted = -(-width // across) * -(-height // down) * planes
    found = directory.count(offsets_tag)
    if found != wanted or directory.count(bytes_tag) != wanted:
        raise Unreadable(f"the TIFF has {found} strips or tiles where {wanted} make up the picture")
    offsets, sizes = directory.integers(offsets_tag), directory.integers(bytes_tag)
    longest = directory.file_bytes
    if max(offsets.max(), sizes.max()) > longest or (offsets + sizes).max() > longest:
        raise Unreadable("the TIFF is truncated: it ends before its pixels")
    if directory.number(_COMPRESSION) == _UNCOMPRESSED:
        row_bytes = -(-across * directory.first(_BITS) * (samples // planes) // 8)
        rows = height if offsets_tag == _STRIP_OFFSETS else wanted // planes * down
        if int(sizes.sum()) < planes * rows * row_bytes:
            raise Unreadable("the TIFF is truncated: its strips or tiles are too short")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tag:
    kind: int
    count: int
    value: bytes
    """The last 4 (BigTIFF: 8) bytes of the entry: the value, or where it lies in the file."""


class _Directory:
    """The tags of the first page that its pixels depend on, each proved to lie within the file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.file_bytes = len(data)
        self._order = "<" if data[:2] == b"II" else ">"
        (version,) = self._unpack("H", 2)
        self._big = version == 43
        self._offset = "Q" if self._big else "L"
        self._offset_bytes = 8 if self._big else 4
        (start,) = self._unpack(self._offset, self._offset_bytes)
        self.tags = self._read(start)

    def number(self, tag: int) -> int:
        """The value of a tag of one integer, or what its absence means."""
        return self.first(tag) if tag in self.tags else _LEFT_OUT[tag]

    def count(self, tag: int) -> int:
        """How many values a tag has."""
        return self.tags[tag].count if tag in self.tags else 0

    def first(self, tag: int) -> int:
        """The first integer of a tag; 1 for bits per sample that are left out."""
        return int(self.integers(tag)[0]) if tag in self.tags else 1

    def integers(self, tag: int) -> npt.NDArray[np.uint64]:
        """All integers of a tag; none if it is left out."""
        if tag not in self.tags:
            return np.empty(0, np.uint64)
        entry = self.tags[tag]
        if entry.kind not in _INTEGERS:
            raise Unreadable(f"the TIFF has a tag {tag} that is no integer")
        dtype = np.dtype(self._order + _INTEGERS[entry.kind])
        data, at = entry.value, 0
        if entry.count * dtype.itemsize > self._offset_bytes:
            data, at = self._data, struct.unpack(self._order + self._offset, entry.value)[0]
        return np.frombuffer(data, dtype, entry.count, at).astype(np.uint64)

    def alone(self) -> bytes:
        """The file with these tags as its only directory, written after its end; without orientation."""
        start = len(self._data) + len(self._data) % 2
        kept = sorted((number, tag) for number, tag in self.tags.items() if number != ORIENTATION_TAG)
        copy = bytearray(self._data)
        struct.pack_into(self._order + self._offset, copy, self._offset_bytes, start)
        copy += bytes(start - len(copy))
        copy += struct.pack(self._order + ("Q" if self._big else "H"), len(kept))
        for number, tag in kept:
            copy += struct.pack(self._order + "HH" + self._offset, number, tag.kind, tag.count) + tag.value
        copy += bytes(self._offset_bytes)
        return bytes(copy)

    def _unpack(self, codes: str, at: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self._order + codes, self._data, at)
        except (struct.error, OverflowError):
            raise Unreadable(_TRUNCATED) from None

    def _read(self, start: int) -> dict[int, _Tag]:
        (count,) = self._unpack("Q" if self._big else "H", start)
        if count >= 2**16:
            raise Unreadable(f"the TIFF has {count} tags")
        entry_bytes = 4 + 2 * self._offset_bytes
        first = start + (8 if self._big else 2)
        tags: dict[int, _Tag] = {}
        elsewhere_bytes = 0
        for at in range(first, first + count * entry_bytes, entry_bytes):
            number, kind, length, place = self._unpack("HH" + 2 * self._offset, at)
            if kind not in _TYPE_BYTES or length == 0 or number in tags:
                continue
            if number in _LEFT_OUT:
                longest = 1
            elif number in _PIECE_TAGS:
                longest = len(self._data)
            elif number in _LIST_TAGS:
                longest = _LONGEST_LIST
            else:
                continue
            if length > longest:
                raise Unreadable(f"the TIFF has {length} values in tag {number}")
            size = length * _TYPE_BYTES[kind]
            if size > self._offset_bytes:
                if place + size > len(self._data):
                    raise Unreadable(_TRUNCATED)
                elsewhere_bytes += size
            value = self._data[at + 4 + self._offset_bytes : at + entry_bytes]
            tags[number] = _Tag(kind=kind, count=length, value=value)
        if elsewhere_bytes > len(self._data):
            raise Unreadable("the TIFF has tags that overlap")
        return tags
