"""One look at every image of a dataset, in threads."""

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Final, NamedTuple

import numpy as np

from triscale.data.dataset import ImageDataset
from triscale.data.errors import ImageError
from triscale.data.exif import swaps_sides
from triscale.data.formats import Format, identify
from triscale.data.jpeg import read_jpeg_header
from triscale.data.likeness import Outline, outline
from triscale.data.limits import Limits
from triscale.data.read import ImageBytes, read_bytes, read_image

DIGEST_BYTES: Final = 16
_CHUNK: Final = 16
"""Images handed to a thread at once."""
_DECODED_SIDE: Final = 128
"""Larger JPEGs are decoded at a fraction of their size: all their data is read, and damage found, all the same."""
_MODES: Final = {1: "L", 3: "RGB"}
_JPEG_MODES: Final = {1: "L", 3: "RGB", 4: "CMYK"}
_PNG_MODES: Final = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
"""By the header's colour type."""
_PNG_DEPTH_AT, _PNG_COLOUR_TYPE_AT = 24, 25


class Look(NamedTuple):
    """What there is to know of an image that can be read."""

    height: int
    width: int
    """Upright, in pixels."""
    kind: str
    """The format and, for JPEG and PNG, Pillow's name of how colours are kept."""
    digest: bytes
    """Equal for equal files."""
    outline: Outline


_Chunk = list[Look | ImageError]


def look_at(dataset: ImageDataset, index: int) -> Look:
    """Read image `index` whole; raises ImageError where training could not read it."""
    image = dataset.image(index)
    if isinstance(image, np.ndarray):
        kind = f"decoded {_MODES.get(image.shape[2], f'{image.shape[2]} channels')}"
        digest = _digest(repr(image.shape).encode() + image.tobytes())
        return Look(image.shape[0], image.shape[1], kind, digest, outline(image))
    data = read_bytes(image)
    side = (_DECODED_SIDE, _DECODED_SIDE)
    pixels = read_image(ImageBytes(dataset.name(index), data), minimum_size=side)
    image_format, height, width = identify(data), *pixels.shape[:2]
    kind = str(image_format)
    if image_format is Format.JPEG:
        header = read_jpeg_header(data, Limits())
        turned = swaps_sides(header.orientation)
        height, width = (header.width, header.height) if turned else (header.height, header.width)
        kind += f" {_JPEG_MODES[header.components]}"
    elif image_format is Format.PNG:
        deep = " 16-bit" if data[_PNG_DEPTH_AT] == 16 else ""
        kind += f" {_PNG_MODES[data[_PNG_COLOUR_TYPE_AT]]}{deep}"
    elif pixels.shape[2] != 3:
        kind += f" {pixels.shape[2]} channels"
    return Look(height, width, kind, _digest(data), outline(pixels))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def look_at_all(dataset: ImageDataset, *, workers: int) -> Iterator[Look | ImageError]:
    """A look at each image in order, or what is wrong with it.

    Decoding leaves the interpreter to other threads: what holds it is a fiftieth of a photograph's time.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")

    def look(start: int) -> _Chunk:
        return [_attempt(dataset, index) for index in range(start, min(start + _CHUNK, count))]

    count = len(dataset.labels)
    with closing(_ahead(range(0, count, _CHUNK), look, workers=workers)) as chunks:
        for chunk in chunks:
            yield from chunk


def _ahead(starts: Iterable[int], look: Callable[[int], _Chunk], *, workers: int) -> Generator[_Chunk, None, None]:
    """Results in order, a few chunks a worker ahead; leaving early drops what has not begun."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="look-at-image")
    pending: deque[Future[_Chunk]] = deque()
    try:
        for start in starts:
            pending.append(pool.submit(look, start))
            if len(pending) > 4 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _attempt(dataset: ImageDataset, index: int) -> Look | ImageError:
    try:
        return look_at(dataset, index)
    except ImageError as error:
        return ImageError(dataset.name(index), error.reason)  # the one caught holds on to the file's bytes
