"""Many images read ahead in threads, in batches, with the broken ones named beside the good."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from triscale.arch.preprocessing import Preprocessing
from triscale.data.errors import ImageError
from triscale.data.limits import Limits
from triscale.data.pixels import Pixels, check_pixels, check_range
from triscale.data.preprocess import preprocess
from triscale.data.read import ImageBytes, Source, read_image

Given = Source | Pixels
"""An image that is still to be read, or its pixels (H, W, C)."""
T = TypeVar("T")
R = TypeVar("R")
_Result = tuple[Given, Pixels | ImageError]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive images: the images of those that can be read, and what is wrong with the others."""

    images: Pixels
    """uint8 (N, H, W, C) in 0..255; N may be 0."""
    outcomes: tuple[tuple[Given, int | ImageError], ...]
    """For each image in order, the row of its image, or its error."""

    @property
    def sources(self) -> tuple[Given, ...]:
        """What the N images were read from."""
        return tuple(source for source, outcome in self.outcomes if isinstance(outcome, int))

    @property
    def errors(self) -> tuple[ImageError, ...]:
        """What is wrong with the others."""
        return tuple(outcome for _, outcome in self.outcomes if isinstance(outcome, ImageError))


def read_batches(
    sources: Iterable[Given],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
    limits: Limits | None = None,
) -> Iterator[Batch]:
    """Read and preprocess images in threads, in order, `batch_size` of them a batch.

    Decoding and resizing leave the interpreter to other threads. The files are listed as they are needed,
    and at most a batch and one image a worker are held ahead, however many files there are.
    Leaving the loop early, by an exception or Ctrl-C, waits for the images in work and drops the rest.
    Raises ValueError for pixels that are no bytes in 0..255.
    """
    if batch_size < 1 or workers < 1:
        raise ValueError(f"batch_size and workers must be at least 1, got {batch_size} and {workers}")

    def read(source: Given) -> Pixels | ImageError:
        if isinstance(source, np.ndarray):
            check_pixels(source)
            check_range([source])
            return preprocess(source, preprocessing)
        try:
            return preprocess(read_image(source, limits=limits), preprocessing)
        except ImageError as error:
            name = source.name if isinstance(source, ImageBytes) else source
            return ImageError(name, error.reason)  # the one caught holds on to the file's bytes

    results = in_order(sources, read, ahead=batch_size + workers, workers=workers)
    shape = (*preprocessing.resolution, len(preprocessing.mean))
    return _batches(results, batch_size, shape)


def in_order(
    items: Iterable[T], work: Callable[[T], R], *, ahead: int, workers: int
) -> Generator[tuple[T, R], None, None]:
    """Each item with what `work` makes of it, in order, done in threads, at most `ahead` and one of them unasked for.

    Leaving early waits for the items in work and drops the rest.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-image")
    pending: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            pending.append((item, pool.submit(work, item)))
            if len(pending) > ahead:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(results: Generator[_Result, None, None], batch_size: int, shape: tuple[int, ...]) -> Iterator[Batch]:
    with closing(results):
        while read := list(islice(results, batch_size)):
            yield _batch(read, shape)


def _batch(read: list[_Result], shape: tuple[int, ...]) -> Batch:
    images = np.empty((sum(not isinstance(result, ImageError) for _, result in read), *shape), np.uint8)
    outcomes: list[tuple[Given, int | ImageError]] = []
    row = 0
    for source, result in read:
        if isinstance(result, ImageError):
            outcomes.append((source, result))
        else:
            images[row] = result
            outcomes.append((source, row))
            row += 1
    return Batch(images, tuple(outcomes))
