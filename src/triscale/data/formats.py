"""Which format a file has, by its first bytes; its name is never trusted."""

import re
from enum import StrEnum
from typing import Final

from triscale.data.errors import Unreadable


class Format(StrEnum):
    """The formats that are read."""

    JPEG = "JPEG"
    PNG = "PNG"
    GIF = "GIF"
    BMP = "BMP"
    WEBP = "WebP"
    TIFF = "TIFF"
    PPM = "PPM"
    AVIF = "AVIF"
    NPY = "NumPy"


READABLE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp"}
    | {".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm", ".avif", ".npy"}
)
REFUSED_SUFFIXES: Final = frozenset({".heic", ".heif", ".jp2", ".jxl"})
"""Photographs, but in formats that are not read: found in a folder, they are reported, not passed over."""

HEAD_BYTES: Final = 256
"""As much of a file as `identify` looks at."""

_READ: Final = (
    (re.compile(rb"\xff\xd8\xff"), Format.JPEG),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), Format.PNG),
    (re.compile(rb"GIF8[79]a"), Format.GIF),
    # "BM" alone could start a list of paths; byte 14 is the size of the second header, 12 to 124.
    (re.compile(rb"BM.{12}[\x0c-\x7c]\0\0\0", re.DOTALL), Format.BMP),
    (re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL), Format.WEBP),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), Format.TIFF),
    (re.compile(rb"P[1-6](?:(?:\s|#[^\r\n]*[\r\n])+\d+){2}"), Format.PPM),
    (re.compile(rb"....ftyp(?:.{4})*?(?:avif|avis)", re.DOTALL), Format.AVIF),
    (re.compile(rb"\x93NUMPY"), Format.NPY),
)

_REFUSED: Final = (
    (re.compile(rb"....ftyp(?:hei|hev|mif1|msf1)", re.DOTALL), "HEIC"),
    (re.compile(rb"....ftyp", re.DOTALL), "a video"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "JPEG XL"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"\0\0[\x01\x02]\0"), "an icon"),
    (re.compile(rb"qoif"), "QOI"),
    (re.compile(rb"P[7fF]\s"), "PAM or PFM"),
    (re.compile(rb"\x76\x2f\x31\x01"), "OpenEXR"),
    (re.compile(rb"%PDF|%!PS"), "PDF or PostScript"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!"), "an archive"),
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer; fetch the image with git lfs pull"),
    (re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<svg", re.DOTALL | re.IGNORECASE), "SVG"),
    (re.compile(rb"\s*<(?:!doctype|html|head)", re.IGNORECASE), "a web page, not an image"),
)


def identify(data: bytes) -> Format:
    """The format of an image by its first bytes; raises `Unreadable` for all that is not read."""
    head = data[:HEAD_BYTES]
    for pattern, image_format in _READ:
        if pattern.match(head):
            return image_format
    known = ", ".join(Format)
    for pattern, name in _REFUSED:
        if pattern.match(head):
            raise Unreadable(f"the file is {name}; read are {known}")
    if not head:
        raise Unreadable("the file is empty")
    if not any(head):
        raise Unreadable("the file starts with zeros: a broken copy or download")
    raise Unreadable(f"no known image format; read are {known}")


def starts_image(data: bytes) -> bool:
    """Whether bytes from standard input are one image, readable or not, rather than a list of paths."""
    return any(pattern.match(data[:HEAD_BYTES]) for pattern, _ in (*_READ, *_REFUSED[:-2]))
