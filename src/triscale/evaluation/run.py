"""What a model answers to every image of a dataset, as fast as the machine allows."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from triscale.arch.spec import Resolution
from triscale.data.batches import in_order
from triscale.data.dataset import ImageDataset, Indices, Labels, has_many_labels
from triscale.data.errors import ImageError
from triscale.data.pixels import Pixels, check_pixels, check_range
from triscale.data.transform import EvalTransform
from triscale.deploy.eager import Engine
from triscale.deploy.latency import torch_threads
from triscale.deploy.usual import Chosen, cores, usual_engine
from triscale.evaluation.classes import match_classes
from triscale.models.files import Model

T = TypeVar("T")
Watch = Callable[[Iterable[T], int], Iterable[T]]
"""Hands on the items it is given with their number, and may show how it goes."""

Logits = npt.NDArray[np.float32]

_CPU_PIXELS: Final = 4 * 224 * 224
"""In a batch: more fall out of a core's caches."""
_GPU_BATCH: Final = 64
_LOOKED_AT: Final = 16
"""Decoded images whose range is looked at first."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answers:
    """What a model answered to the n images of a dataset that can be read, in their order."""

    logits: Logits
    """float32 (n, classes)."""
    labels: Labels
    """int64 (n,), or uint8 (n, classes) of 0 and 1 where images carry any number of labels."""
    class_names: tuple[str, ...]
    """The dataset's, by label, then those that only the model knows."""
    names: tuple[str, ...]
    """What the dataset calls each image."""
    indices: Indices
    """int64 (n,): which images of the dataset these are."""
    broken: tuple[tuple[str, str], ...]
    """Name and reason of each of the others."""
    images_per_s: float
    """Read, prepared and answered, from the first to the last."""
    batch_size: int
    device: str
    engine: str
    """What ran the network: native (our compiled engine), torch, or given."""


def evaluate(
    model: Model,
    dataset: ImageDataset,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    device: torch.device | str = "cpu",
    engine: Engine | None = None,
    watch: Watch[tuple[range, "_Done"]] | None = None,
) -> Answers:
    """The logits of `model` for each image of `dataset`, prepared as its card says.

    On the CPU each of `workers` threads (one a core) reads a few images and passes them through the network by itself,
    so that all cores compute all the time; on a GPU, and for another `engine`, one batch is computed at a time while
    threads read the next. Logits are all that is kept of images. A broken image is named and left out. `watch` gets
    the batches as they are done, with their number, and hands them on, as `tqdm` does.
    Raises ValueError for classes that the model does not know (`match_classes`), for pixels that are no bytes in
    0..255, where no image can be read, and where weights have diverged.
    """
    device = torch.device(device)
    spec, names = model.network.spec, dataset.class_names
    if not spec.classes:
        raise ValueError(f"{spec.name} has no classes to judge; reset_classifier gives it some")
    known = model.card.class_names or names
    outputs = match_classes(model.card.class_names, names, outputs=spec.classes)
    images, threads = len(dataset.labels), workers or cores()
    size = batch_size or _usual_batch_size(model.card.preprocessing.resolution, device, share=images // (4 * threads))
    if size < 1 or threads < 1:
        raise ValueError(f"batch_size and workers must be at least 1, got {size} and {threads}")
    if not images:
        raise ValueError("there is no image to judge by")
    _check_some(dataset)
    alone = engine is not None or device.type != "cpu"
    chosen = Chosen("given", engine) if engine else usual_engine(model, device=device)
    answer = _Answerer(model, dataset, chosen.run, alone=alone)
    batches = [range(start, min(start + size, images)) for start in range(0, images, size)]
    collected = _Collected(images, spec.classes)
    started_s = time.perf_counter()
    with (
        torch_threads(None if alone else max(1, cores() // threads)),
        closing(in_order(batches, answer, ahead=4 * threads, workers=threads)) as results,
    ):
        for _, done in results if watch is None else watch(results, len(batches)):
            collected.add(done)
    elapsed_s = time.perf_counter() - started_s
    logits, indices = collected.taken()
    if not np.isfinite(logits).all():
        raise ValueError(f"{spec.name} answers with numbers that are not finite; its weights are damaged or diverged")
    return Answers(
        logits=logits if outputs is None else logits[:, outputs],
        labels=_widened(dataset.labels[indices], spec.classes),
        class_names=known if outputs is None else tuple(known[output] for output in outputs),
        names=tuple(dataset.name(index) for index in indices.tolist()),
        indices=indices,
        broken=tuple(collected.broken),
        images_per_s=len(indices) / elapsed_s,
        batch_size=size,
        device=str(device),
        engine=chosen.name,
    )


def _usual_batch_size(resolution: Resolution, device: torch.device, *, share: int) -> int:
    """So many that what is computed stays in caches; at most `share`, so that no thread waits for the last."""
    if device.type != "cpu":
        return _GPU_BATCH
    return max(1, min(share, _CPU_PIXELS // (resolution.height * resolution.width)))


def _check_some(dataset: ImageDataset) -> None:
    """Whether what is decoded already looks like bytes in 0..255; each image's type is looked at later."""
    decoded = []
    for index in np.unique(np.linspace(0, len(dataset.labels) - 1, _LOOKED_AT).astype(np.int64)).tolist():
        try:
            image = dataset.image(index)
        except ImageError:
            continue
        if not isinstance(image, np.ndarray):
            return
        check_pixels(image)
        decoded.append(image)
    check_range(decoded)


def _widened(labels: Labels, classes: int) -> Labels:
    """Where images carry any number of labels, none of the classes that only the model knows."""
    if not has_many_labels(labels):
        return labels
    return np.pad(labels, ((0, 0), (0, classes - labels.shape[1])))


class _Done(NamedTuple):
    """What came of a few images."""

    indices: list[int]
    logits: Logits | None
    """None where not one could be read."""
    broken: list[tuple[str, str]]


class _Answerer:
    """What each thread runs: images by number, to logits."""

    def __init__(self, model: Model, dataset: ImageDataset, engine: Engine, *, alone: bool) -> None:
        self.dataset, self.engine = dataset, engine
        self.transform = EvalTransform(model.card.preprocessing)
        self.turn: AbstractContextManager[object] = threading.Lock() if alone else nullcontext()

    def __call__(self, indices: Sequence[int]) -> _Done:
        done = _Done([], None, [])
        pixels: list[Pixels] = []
        for index in indices:
            try:
                image = self.dataset.image(index)
                if isinstance(image, np.ndarray):
                    check_pixels(image)
                pixels.append(self.transform(image))
            except ImageError as error:
                done.broken.append((self.dataset.name(index), error.reason))
                continue
            done.indices.append(index)
        if not pixels:
            return done
        stacked = np.stack(pixels)
        with self.turn:
            logits: Logits = self.engine(stacked).float().numpy()
        return done._replace(logits=logits)


class _Collected:
    """Logits as they come, in one array that was made for all of them."""

    def __init__(self, images: int, classes: int) -> None:
        self._logits = np.empty((images, classes), np.float32)
        self._indices = np.empty(images, np.int64)
        self._count = 0
        self.broken: list[tuple[str, str]] = []

    def add(self, done: _Done) -> None:
        """The next few images."""
        self.broken += done.broken
        if done.logits is not None:
            rows = slice(self._count, self._count + len(done.indices))
            self._logits[rows], self._indices[rows] = done.logits, done.indices
            self._count = rows.stop

    def taken(self) -> tuple[Logits, Indices]:
        """Of all images that could be read; raises ValueError where there are none."""
        if not self._count:
            reason = f", such as {self.broken[0][0]}: {self.broken[0][1]}" if self.broken else ""
            raise ValueError(f"there is no readable image to judge by{reason}")
        return self._logits[: self._count], self._indices[: self._count]
