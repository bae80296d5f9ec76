"""Folders of good images with broken ones among them: every way that such files come to be."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tests.data.datasets.sources import jpeg, picture
from tests.data.pictures import encoded, png_chunk


def _cut(data: bytes, *, kept: float) -> bytes:
    return data[: int(kept * len(data))]


def _image() -> Image.Image:
    return Image.fromarray(picture(12345, height=60, width=80))


def _png_with_a_wrong_checksum() -> bytes:
    data = bytearray(encoded(_image(), "PNG"))
    data[data.index(b"IDAT") + 40] ^= 1
    return bytes(data)


def _huge_png() -> bytes:
    size = (100_000).to_bytes(4, "big")
    header = png_chunk(b"IHDR", size + size + bytes([8, 2, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


def _contents(data: Callable[[], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data())


BROKEN: Final[dict[str, Callable[[Path], object]]] = {
    "empty": _contents(lambda: b""),
    "zeros": _contents(lambda: bytes(5000)),
    "web page": _contents(lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
    "text": _contents(lambda: b"this is no image\n" * 20),
    "random bytes": _contents(lambda: np.random.default_rng(0).bytes(4000)),
    "JPEG cut in its header": _contents(lambda: jpeg(1)[:100]),
    "JPEG cut in the middle": _contents(lambda: _cut(encoded(_image(), "JPEG"), kept=0.6)),
    "JPEG without its end": _contents(lambda: _cut(encoded(_image(), "JPEG"), kept=0.97)),
    "progressive JPEG cut": _contents(lambda: _cut(encoded(_image(), "JPEG", progressive=True), kept=0.7)),
    "JPEG zeroed from the middle": _contents(lambda: jpeg(1)[:700] + bytes(len(jpeg(1)) - 700)),
    "CMYK JPEG cut": _contents(lambda: _cut(encoded(_image().convert("CMYK"), "JPEG"), kept=0.5)),
    "PNG cut": _contents(lambda: _cut(encoded(_image(), "PNG"), kept=0.8)),
    "PNG with a wrong checksum": _contents(_png_with_a_wrong_checksum),
    "huge PNG": _contents(_huge_png),
    "GIF cut": _contents(lambda: _cut(encoded(_image(), "GIF"), kept=0.5)),
    "WebP cut": _contents(lambda: _cut(encoded(_image(), "WEBP"), kept=0.5)),
    "HEIC": _contents(lambda: b"\0\0\0\x18ftypheic" + bytes(300)),
    "Git LFS pointer": _contents(lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
}
"""What writes each to a path."""


def write_with_broken(root: Path, *, images: int, broken: int, classes: int = 10) -> set[str]:
    """`images` files in `train/` and `val/` (one in five), `broken` of them so; returns the paths of those.

    The good ones are JPEG, some of them grey or CMYK or named as another format, and PNG.
    """
    generator = np.random.default_rng(0)
    chosen = set(generator.choice(images, broken, replace=False).tolist())
    writers = list(BROKEN.values())
    paths = set()
    for number in range(images):
        part = "val" if number // classes % 5 == 4 else "train"
        path = root / part / f"class{number % classes}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number in chosen:
            writers[len(paths) % len(writers)](path)
            paths.add(os.fspath(path))
        else:
            image = Image.fromarray(picture(number))
            mode = {1: "L", 2: "CMYK"}.get(number % 7, "RGB")
            path.write_bytes(encoded(image, "PNG") if number % 11 == 0 else encoded(image.convert(mode), "JPEG"))
    return paths
