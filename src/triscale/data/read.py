"""Reading one image, whatever its format, the right way up: as RGB, unless it is an array of other channels."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from triscale.arch.spec import Resolution
from triscale.data.box import Box, cut
from triscale.data.errors import ImageError, Unreadable
from triscale.data.exif import stored_box, swaps_sides, upright
from triscale.data.formats import Format, identify
from triscale.data.jpeg import decode_jpeg, divisor_for, read_jpeg_header
from triscale.data.limits import Limits
from triscale.data.npy import decode_npy
from triscale.data.pillow import decode_avif, decode_bmp, decode_gif, decode_webp
from triscale.data.pixels import Pixels
from triscale.data.png import decode_png
from triscale.data.ppm import decode_ppm
from triscale.data.tiff import decode_tiff


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """An image that is no file, such as one from standard input, with the name to call it by."""

    name: str
    data: bytes = field(repr=False)


Source = Path | ImageBytes


def read_image(
    source: Source | bytes,
    *,
    limits: Limits | None = None,
    minimum_size: tuple[int, int] | None = None,
) -> Pixels:
    """Read an image as RGB, uint8 (H, W, 3), turned upright by its EXIF orientation.

    The first bytes decide the format, never the name. Animations give their first frame, TIFF its first
    page. `data.pixels.rgb_pixels` says how transparency, 16 bits and floats become 8-bit colours. Arrays that numpy
    saved keep their channels, (H, W, C), unless they have but one.

    `minimum_size` (height, width) lets a larger JPEG be decoded at a half, quarter or eighth of its size,
    as long as no side gets shorter than that: faster, with slightly different pixels.

    Raises `ImageError`, and nothing else, for what cannot be read: missing, too large, truncated, damaged,
    of another format.
    """
    return _read(source, limits, lambda data, limits: _decode(data, limits, minimum_size))


def read_crop(
    source: Source | bytes, choose: Callable[[int, int], Box], *, target: Resolution, limits: Limits | None = None
) -> Pixels:
    """Read the part of an image that `choose` picks by the image's height and width: RGB, uint8 (H, W, 3), upright.

    Of a JPEG no more is decoded than this needs: no row below the part, and where the part has twice the sides of
    `target` or more, a half, quarter or eighth of its pixels, so that its edges move to a multiple of as much. Colour
    stored at half the resolution is not interpolated where the part has more pixels than `target`: it is averaged.

    Raises ImageError as `read_image`, except that damage below the part is not seen, unless it cut off the file's end.
    """
    return _read(source, limits, lambda data, limits: _decode_crop(data, limits, choose, target))


def _read(source: Source | bytes, limits: Limits | None, decode: Callable[[bytes, Limits], Pixels]) -> Pixels:
    limits = Limits() if limits is None else limits
    name = source if isinstance(source, Path) else "<bytes>" if isinstance(source, bytes) else source.name
    try:
        data = source if isinstance(source, bytes) else _load(source, limits)
        limits.check_bytes(len(data))
        return decode(data, limits)
    except Unreadable as error:
        raise ImageError(name, str(error)) from None
    except MemoryError:
        raise ImageError(name, "there is not enough memory to decode it") from None


def read_bytes(source: Source, *, limits: Limits | None = None) -> bytes:
    """A file as it is, still encoded; raises `ImageError`, and nothing else, for what cannot be had."""
    try:
        return _load(source, Limits() if limits is None else limits)
    except Unreadable as error:
        raise ImageError(source if isinstance(source, Path) else source.name, str(error)) from None


def _load(source: Source, limits: Limits) -> bytes:
    if isinstance(source, ImageBytes):
        return source.data
    try:
        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size  # 0 for a pipe
            limits.check_bytes(size)
            return file.read() if size else file.read(limits.file_bytes + 1)
    except OSError as error:
        raise Unreadable((error.strerror or str(error)).lower()) from None
    except ValueError as error:  # a name with a zero byte
        raise Unreadable(str(error)) from None


def _decode(data: bytes, limits: Limits, minimum_size: tuple[int, int] | None) -> Pixels:
    image_format = identify(data)
    if image_format is Format.JPEG:
        header = read_jpeg_header(data, limits)
        divisor = divisor_for(header, minimum_size)
        return upright(decode_jpeg(data, header, limits, divisor=divisor), orientation=header.orientation)
    pixels, orientation = _DECODERS[image_format](data, limits.within_pillow())
    return upright(pixels, orientation=orientation)


def _decode_crop(data: bytes, limits: Limits, choose: Callable[[int, int], Box], target: Resolution) -> Pixels:
    if identify(data) is not Format.JPEG:
        image = _decode(data, limits, None)
        return cut(image, choose(image.shape[0], image.shape[1]))
    header = read_jpeg_header(data, limits)
    swapped = swaps_sides(header.orientation)
    height, width = (header.width, header.height) if swapped else (header.height, header.width)
    box = choose(height, width)
    divisor = next((d for d in (8, 4, 2) if box.height >= d * target.height and box.width >= d * target.width), 1)
    stored = stored_box(box, height=height, width=width, orientation=header.orientation)
    shrinks = box.height * box.width > target.height * target.width
    rows = stored.top + stored.height
    pixels = decode_jpeg(data, header, limits, divisor=divisor, rows=rows, fine_colour=not shrinks)
    return upright(cut(pixels, stored.divided(divisor)), orientation=header.orientation)


_DECODERS: Final[dict[Format, Callable[[bytes, Limits], tuple[Pixels, int]]]] = {
    Format.PNG: decode_png,
    Format.GIF: decode_gif,
    Format.BMP: decode_bmp,
    Format.WEBP: decode_webp,
    Format.TIFF: decode_tiff,
    Format.PPM: decode_ppm,
    Format.AVIF: decode_avif,
    Format.NPY: decode_npy,
}
