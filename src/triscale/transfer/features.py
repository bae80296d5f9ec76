"""What a frozen network sees in images: every image through it once, and kept on disk for the next time."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from triscale.arch.spec import Resolution
from triscale.data.dataset import ImageDataset, Labels
from triscale.data.errors import ImageError
from triscale.data.pixels import Pixels
from triscale.data.transform import EvalTransform
from triscale.deploy.latency import torch_threads
from triscale.deploy.usual import cores, usual_engine
from triscale.models.files import Model
from triscale.transfer.cache import FeatureCache, Values, default_folder, image_key, network_key

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""

_CPU_PIXELS: Final = 4 * 224 * 224
"""In a batch: more fall out of a core's caches."""
_GPU_BATCH: Final = 64
_KEPT_IMAGES: Final = 256
"""In one file of the cache: what an interruption may cost, unless it was computed in `_KEPT_S`."""
_KEPT_S: Final = 15.0


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Pooled features of the images of a dataset that can be read."""

    values: Values
    """float32 (n, num_features)."""
    labels: Labels
    """As the dataset has them: (n,) or (n, classes)."""
    kept: npt.NDArray[np.int64]
    """(n,): which images these are, by number in the dataset."""
    broken: tuple[tuple[str, str], ...]
    """Name and reason of each of the others."""
    computed: int
    """How many of the n passed the network now; the others were kept from another time."""
    engine: str
    """What runs the network: native (our compiled engine) or torch."""

    def of(self, rows: npt.NDArray[np.int64]) -> "Features":
        """Those of some rows; the broken ones are left behind."""
        return Features(self.values[rows], self.labels[rows], self.kept[rows], (), self.computed, self.engine)


class _Done(NamedTuple):
    """What came of a few images."""

    indices: list[int]
    values: Values
    new: list[tuple[bytes, int]]
    """Key and row of each that was not kept before."""
    broken: list[tuple[str, str]]


def pooled_features(
    model: Model,
    dataset: ImageDataset,
    *,
    cache: Path | bool = True,
    batch_size: int | None = None,
    workers: int | None = None,
    device: torch.device | str = "cpu",
    watch: Progress | None = None,
) -> Features:
    """The values that the classifier of `model` would read, for each image of `dataset`, prepared as its card says.

    On the CPU each of `workers` threads (one a core) reads a few images and passes them through the network by itself,
    so that all cores compute all the time; on a GPU the threads read while one batch computes. Features are kept in
    `cache` (a folder; True for the usual one, False to keep none) a few hundred images at a time, so that what
    an interruption left over is all that the next call computes. A broken image never stops the rest. Raises
    ValueError where no image can be read.
    """
    device = torch.device(device)
    images = len(dataset.labels)
    threads = workers or cores()
    size = batch_size or usual_batch_size(model.card.preprocessing.resolution, device)
    if threads < 1 or size < 1:
        raise ValueError(f"workers and batch_size must be at least 1, got {threads} and {size}")
    kept = None
    if cache is not False:
        folder = default_folder() if cache is True else cache
        kept = FeatureCache(folder, network_key(model, device=device.type), width=model.network.num_features)
    read = _Reader(model, dataset, kept, device)
    batches = [range(start, min(start + size, images)) for start in range(0, images, size)]
    with torch_threads(max(1, cores() // threads)), closing(_in_order(read, batches, threads)) as results:
        done = list(_keeping(results, kept, images, watch))
    indices = np.array([index for part in done for index in part.indices], np.int64)
    broken = tuple(pair for part in done for pair in part.broken)
    if not len(indices):
        reason = f", such as {broken[0][0]}: {broken[0][1]}" if broken else ""
        raise ValueError(f"there is no readable image to compute features of{reason}")
    values = np.concatenate([part.values for part in done])
    computed = sum(len(part.new) for part in done)
    return Features(values, dataset.labels[indices], indices, broken, computed, read.engine.name)


def usual_batch_size(resolution: Resolution, device: torch.device) -> int:
    """Images that pass the network together: few on a CPU, whose caches hold the activations of few."""
    if device.type != "cpu":
        return _GPU_BATCH
    return max(1, _CPU_PIXELS // (resolution.height * resolution.width))


class _Reader:
    """What each thread runs: images by number, to features."""

    def __init__(self, model: Model, dataset: ImageDataset, kept: FeatureCache | None, device: torch.device) -> None:
        self.dataset, self.kept = dataset, kept
        self.transform = EvalTransform(model.card.preprocessing)
        self.engine = usual_engine(model, device=device, features=True)
        self.num_features = model.network.num_features

    def __call__(self, indices: Sequence[int]) -> _Done:
        done = _Done([], np.empty((0, self.num_features), np.float32), [], [])
        known: list[Values | None] = []
        unknown: list[Pixels] = []
        for index in indices:
            try:
                image = self.dataset.image(index)
                key = self._key(image)
                found = self.kept.find(key) if self.kept else None
                if found is None:
                    unknown.append(self.transform(image))
                    done.new.append((key, len(known)))
            except ImageError as error:
                done.broken.append((self.dataset.name(index), error.reason))
                continue
            done.indices.append(index)
            known.append(found)
        if not known:
            return done
        computed = iter(self._compute(unknown) if unknown else ())
        return done._replace(values=np.stack([next(computed) if row is None else row for row in known]))

    def _key(self, image: object) -> bytes:
        if self.kept is None:
            return b""
        try:
            return image_key(image)  # type: ignore[arg-type]
        except OSError:  # reading it says why
            return b""

    def _compute(self, images: list[Pixels]) -> Values:
        values: Values = self.engine.run(np.stack(images)).float().numpy()
        return values


def _in_order(
    read: Callable[[Sequence[int]], _Done], batches: Sequence[range], threads: int
) -> Generator[_Done, None, None]:
    """Every batch's result in turn; leaving early waits for those in work and drops the rest."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="features")
    pending: deque[Future[_Done]] = deque()
    try:
        for batch in batches:
            pending.append(pool.submit(read, batch))
            if len(pending) > 4 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _keeping(
    results: Iterator[_Done], kept: FeatureCache | None, images: int, watch: Progress | None
) -> Iterator[_Done]:
    """The same results, kept on disk as they come, whatever stops them."""
    waiting: list[tuple[bytes, Values]] = []
    seen, kept_s = 0, time.monotonic()
    try:
        for done in results:
            yield done
            waiting += [(key, done.values[row]) for key, row in done.new if key]
            seen += len(done.indices) + len(done.broken)
            if watch is not None:
                watch(seen, images)
            if len(waiting) >= _KEPT_IMAGES or time.monotonic() - kept_s > _KEPT_S:
                _keep(kept, waiting)
                waiting, kept_s = [], time.monotonic()
    finally:
        _keep(kept, waiting)


def _keep(kept: FeatureCache | None, rows: list[tuple[bytes, Values]]) -> None:
    if kept is not None and rows:
        kept.add([key for key, _ in rows], np.stack([values for _, values in rows]))
