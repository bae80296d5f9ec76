"""Many images read ahead in threads, in batches, with the broken ones named beside the good."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from triscale.arch.preprocessing import Preprocessing
from triscale.data.errors import ImageError
from triscale.data.limits import Limits
from triscale.data.pixels import Pixels
from triscale.data.preprocess import preprocess
from triscale.data.read import Source, read_image

_Result = tuple[Source, Pixels | ImageError]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive files: the images of those that can be read, and what is wrong with the others."""

    images: Pixels
    """uint8 (N, H, W, C) in 0..255; N may be 0."""
    outcomes: tuple[tuple[Source, int | ImageError], ...]
    """For each file in order, the row of its image, or its error."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files of the N images."""
        return tuple(source for source, outcome in self.outcomes if isinstance(outcome, int))

    @property
    def errors(self) -> tuple[ImageError, ...]:
        """What is wrong with the others."""
        return tuple(outcome for _, outcome in self.outcomes if isinstance(outcome, ImageError))


def read_batches(
    sources: Iterable[Source],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
    limits: Limits | None = None,
) -> Iterator[Batch]:
    """Read and preprocess images in threads, in order, `batch_size` files a batch.

    Decoding and resizing leave the interpreter to other threads. The files are listed as they are needed,
    and at most a batch and one image a worker are held ahead, however many files there are.
    Leaving the loop early, by an exception or Ctrl-C, waits for the images in work and drops the rest.
    """
    if batch_size < 1 or workers < 1:
        raise ValueError(f"batch_size and workers must be at least 1, got {batch_size} and {workers}")

    def read(source: Source) -> Pixels | ImageError:
        try:
            return preprocess(read_image(source, limits=limits), preprocessing)
        except ImageError as error:
            return ImageError(error.path, error.reason)  # the one caught holds on to the file's bytes

    results = _in_order(sources, read, ahead=batch_size + workers, workers=workers)
    shape = (*preprocessing.resolution, len(preprocessing.mean))
    return _batches(results, batch_size, shape)


def _in_order(
    sources: Iterable[Source],
    read: Callable[[Source], Pixels | ImageError],
    *,
    ahead: int,
    workers: int,
) -> Generator[_Result, None, None]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-image")
    pending: deque[tuple[Source, Future[Pixels | ImageError]]] = deque()
    try:
        for source in sources:
            pending.append((source, pool.submit(read, source)))
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
    outcomes: list[tuple[Source, int | ImageError]] = []
    row = 0
    for source, result in read:
        if isinstance(result, ImageError):
            outcomes.append((source, result))
        else:
            images[row] = result
            outcomes.append((source, row))
            row += 1
    return Batch(images, tuple(outcomes))
