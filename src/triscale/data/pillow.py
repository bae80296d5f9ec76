"""What Pillow decodes, without the guessing and the warnings of `Image.open`."""

import io
import re
import struct
from typing import Final

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from triscale.data.errors import Unreadable
from triscale.data.exif import orientation
from triscale.data.formats import Format
from triscale.data.limits import Limits
from triscale.data.pixels import Pixels, rgb_pixels

_BMP_RUN_LENGTHS: Final = (b"\1\0\0\0", b"\2\0\0\0")
MAX_SLOW_BYTES: Final = 16 * 2**20
"""Of data that Python takes apart byte by byte."""


def load(plugin: type[ImageFile], data: bytes, limits: Limits) -> ImageFile:
    """Decode with one of Pillow's plugins, after its header passed the limits; raises `Unreadable`."""
    name = plugin.format or plugin.__name__
    # Pillow's decoders raise nearly anything on damaged data: SyntaxError, struct.error, IndexError ...
    try:
        image = plugin(io.BytesIO(data))
    except Exception as error:
        raise Unreadable(_reason(name, error)) from None
    limits.check_size(width=image.width, height=image.height)
    try:
        image.load()
    except Exception as error:
        raise Unreadable(_reason(name, error)) from None
    return image


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"there is not enough memory to decode the {name}"
    text = str(error).partition("\n")[0] or type(error).__name__
    return f"the {name} is damaged or of an unknown kind: {text}"


def decode_gif(data: bytes, limits: Limits) -> tuple[Pixels, int]:
    """RGB (H, W, 3) of the first frame, and orientation 1; raises `Unreadable`."""
    _check_gif_frame(data, limits)
    return rgb_pixels(load(GifImageFile, data, limits)), 1


def _check_gif_frame(data: bytes, limits: Limits) -> None:
    # A first frame that reaches past the canvas enlarges it. Source: GIF89a sections 18 to 23.
    try:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        while data[at] == 0x21 and at <= MAX_SLOW_BYTES:
            at += 2
            while data[at]:
                at += data[at] + 1
            at += 1
        if data[at] != 0x2C:
            raise Unreadable(f"the GIF is damaged at byte {at}")
        left, top, frame_width, frame_height = struct.unpack_from("<4H", data, at + 1)
    except (IndexError, struct.error):
        raise Unreadable("the GIF is truncated in its header") from None
    limits.check_size(width=max(width, left + frame_width), height=max(height, top + frame_height))


def decode_bmp(data: bytes, limits: Limits) -> tuple[Pixels, int]:
    """RGB (H, W, 3), and orientation 1; raises `Unreadable`."""
    compressed = int.from_bytes(data[14:18], "little") >= 40 and data[30:34] in _BMP_RUN_LENGTHS
    if compressed and len(data) > MAX_SLOW_BYTES:
        raise Unreadable(f"run-length coded BMP is read up to {MAX_SLOW_BYTES / 2**20:g} MiB; save it as PNG")
    return rgb_pixels(load(BmpImageFile, data, limits)), 1


def decode_webp(data: bytes, limits: Limits) -> tuple[Pixels, int]:
    """RGB (H, W, 3) of the first frame as stored, and the EXIF orientation; raises `Unreadable`."""
    _check_webp_canvas(data, limits)
    image = load(WebPImageFile, data, limits)
    return rgb_pixels(image), orientation(image.info.get("exif", b""))


def _check_webp_canvas(data: bytes, limits: Limits) -> None:
    # libwebp allocates the canvas as soon as it is opened. Source: RFC 9649 sections 2.5 to 2.7.
    if len(data) < 30:
        raise Unreadable("the WebP is truncated in its header")
    match data[12:16]:
        case b"VP8X":
            width = int.from_bytes(data[24:27], "little") + 1
            height = int.from_bytes(data[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    limits.check_size(width=width, height=height)


_EXIF_ITEM: Final = re.compile(rb"(infe[\x02\x03]...(?:..|....)..)Exif", re.DOTALL)


def decode_avif(data: bytes, limits: Limits) -> tuple[Pixels, int]:
    """RGB (H, W, 3) of the first frame as stored, and the orientation it asks for; raises `Unreadable`.

    The orientation is that of the container (irot and imir), which overrules EXIF's by the standard.
    """
    try:
        from PIL.AvifImagePlugin import SUPPORTED, AvifImageFile
    except ImportError:
        raise Unreadable(f"this build of Pillow does not read {Format.AVIF}") from None
    if not SUPPORTED:
        raise Unreadable(f"this build of Pillow does not read {Format.AVIF}")
    # Pillow warns of damaged EXIF data here, which holds nothing that is used: hide it.
    image = load(AvifImageFile, _EXIF_ITEM.sub(rb"\1exif", data), limits)
    return rgb_pixels(image), orientation(image.info.get("exif", b""))
