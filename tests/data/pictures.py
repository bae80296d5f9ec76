"""Pictures and image files for the tests of reading, written by other libraries or by hand."""

import functools
import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.uint8]


@functools.cache
def coffee() -> Picture:
    """scikit-image's photograph of a cup, 400 x 600."""
    import skimage.data

    return np.asarray(skimage.data.coffee())


@functools.cache
def astronaut() -> Picture:
    """scikit-image's portrait, 512 x 512."""
    import skimage.data

    return np.asarray(skimage.data.astronaut())


@functools.cache
def china() -> Picture:
    """scikit-learn's photograph of a palace, 427 x 640."""
    import sklearn.datasets

    return np.asarray(sklearn.datasets.load_sample_image("china.jpg"))


@functools.cache
def flower() -> Picture:
    """scikit-learn's photograph of a flower, 427 x 640."""
    import sklearn.datasets

    return np.asarray(sklearn.datasets.load_sample_image("flower.jpg"))


def small(picture: Picture, *, height: int, width: int) -> Picture:
    """A photograph made small, for tests that read thousands."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def npy(array: npt.NDArray[np.generic], *, version: tuple[int, int] | None = None) -> bytes:
    """A file's bytes as numpy writes them."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version, allow_pickle=False)
    return file.getvalue()


def encoded(picture: npt.NDArray[np.generic] | Image.Image, image_format: str, **options: object) -> bytes:
    """A file's bytes as Pillow writes them."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    """EXIF data that says nothing but the orientation."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def png(
    *,
    width: int,
    height: int,
    bit_depth: int,
    colour_type: int,
    rows: Sequence[bytes],
    before: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG from packed rows, for the kinds that no library writes; `before` are chunks before the pixels."""
    header = struct.pack(">LLBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        *before,
        (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)


def tiff(entries: Sequence[tuple[int, int, int, int]], *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory, whose entries are (tag, type, count, value or offset).

    Its header takes 8 bytes, then come the bytes `before`, the directory, and the bytes `after`.
    """
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return struct.pack("<2sHL", b"II", 42, 8 + len(before)) + before + directory + bytes(4) + after
