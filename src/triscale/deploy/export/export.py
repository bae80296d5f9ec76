"""From a model to files of other libraries, each read back, compared with torch and timed before it is kept."""

import itertools
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from triscale.deploy.eager import eager_engine
from triscale.deploy.export.formats import FORMATS, Calibration, Format
from triscale.deploy.export.guard import LARGEST_DROP, TRIES_BEFORE, Round, guarded
from triscale.deploy.export.images import Int8Images, compared_images, int8_images
from triscale.deploy.export.sensitivity import fragile_layers
from triscale.deploy.export.source import Runner, Source, in_batches
from triscale.deploy.export.timing import time_in_turns
from triscale.deploy.latency import Latency, torch_threads
from triscale.models.files import Model
from triscale.storage import atomic_path

TOLERANCE: Final = 1e-3
"""Logits of a float32 file differ from torch's by no more."""
FLOAT32, INT8 = "float32", "int8"
RANKED: Final = 8
"""Images that the sensitivity of layers is measured on."""
EAGER: Final = "torch eager"
"""What runs a model without exporting it."""
Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


class ExportMismatch(ValueError):
    """An exported file computes something else than the network it was written from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8:
    """That int8 is wanted, and under which condition."""

    images: str
    """A file, folder or pattern of images, or a dataset; it calibrates, and judges what int8 costs."""
    largest_drop: float = LARGEST_DROP
    """Points of accuracy that it may cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One way of running the network on this machine."""

    name: str
    """The format, or `EAGER`."""
    precision: str
    latency: Latency
    """Of one batch."""
    difference: float | None
    """Largest difference of a logit from torch's; None for torch itself, and for int8, which its answers judge."""
    size_bytes: int | None
    """Of all files; None for torch."""
    path: Path | None
    """The file to open, where this was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Result:
    """What became of int8 in one format."""

    name: str
    rounds: tuple[Round, ...]
    """All tries, the accepted one last."""
    layers: int
    """How many could be rounded."""
    spared: str
    """What those have that were spared: float32, or 16 bits."""
    faster: float
    """Middle time in float32 over that in int8; where it is not above 1, float32 was kept."""

    @property
    def written(self) -> bool:
        """Whether the format's file is in int8."""
        return self.faster > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written, and what was measured on the way."""

    timed: tuple[Timed, ...]
    int8: tuple[Int8Result, ...]
    compared: int
    """Images that the files were compared with torch on."""
    threads: int
    batch: int | None
    """Images that a graph takes at once; None for any number."""

    @property
    def fastest(self) -> Timed:
        """What to use on this machine: of the files that were written, and torch."""
        return min((each for each in self.timed if each.path or each.name == EAGER), key=_middle)

    @property
    def eager(self) -> Timed:
        """Torch without an export."""
        return next(each for each in self.timed if each.name == EAGER)


def _middle(timed: Timed) -> float:
    return timed.latency.median_ms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    """A file that may be kept, opened in its own runtime."""

    format: Format
    precision: str
    path: Path
    run: Runner
    difference: float | None = None
    rounds: tuple[Round, ...] = ()

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self.run(images)

    @property
    def title(self) -> str:
        return f"{self.format.name} {self.precision}"


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What the steps share."""

    source: Source
    reference: Runner
    folder: Path
    """A temporary one."""
    threads: int
    tell: Tell

    def open(self, format: Format, path: Path) -> Runner:
        return in_batches(format.open(path, self.threads), batch=self.source.batch)


def _silent(_what: str, _done: int, _total: int) -> None:
    """The `tell` of callers who do not want to know."""


def export_model(
    model: Model,
    paths: Mapping[str, Path],
    *,
    int8: Int8 | None = None,
    images: Iterable[str] = (),
    batch: int | None = None,
    threads: int = 1,
    overwrite: bool = False,
    tell: Tell = _silent,
    formats: Mapping[str, Format] = FORMATS,
) -> Exported:
    """Write `model` to `paths`, by format; all of them, each whole, or none.

    A file takes uint8 images (N, H, W, C), cropped and resized as the model's card says, and gives logits; it says of
    itself what `Source.metadata` tells. It is read back in its own runtime, and its logits on `images` (files, folders
    or patterns; photographs of installed packages where there are none) may differ from torch's by `TOLERANCE`.
    All are timed beside each other and torch with `threads` threads. `batch` fixes the number of images of a graph.

    With `int8`, a format that has it is written in int8 where that is measured to be faster; layers are spared
    until accuracy falls by no more than is allowed.

    Raises ValueError for a format that does not exist, for files that do unless `overwrite`, and for packages that are
    missing; ExportMismatch for logits that differ; Int8Refused where int8 costs too much.
    """
    chosen = _chosen(paths, formats, overwrite=overwrite)
    if threads < 1 or (batch is not None and batch < 1):
        raise ValueError(f"threads and batch must be at least 1, got {threads} and {batch}")
    if int8 is not None:
        _check_int8(int8, model, chosen)
    tell("reading images", 0, 1)
    pictures = compared_images(images, model.card.preprocessing)
    judged = None if int8 is None else int8_images(int8.images, model.card, outputs=model.network.num_classes)
    tell("reading images", 1, 1)
    with tempfile.TemporaryDirectory(prefix="triscale-export-") as name, torch_threads(threads):
        work = _Work(Source(model, batch), _reference(model), Path(name), threads, tell)
        candidates = []
        for number, format in enumerate(chosen):
            tell("writing and comparing", number, len(chosen))
            candidates.append(_write(work, format, pictures))
        tell("writing and comparing", len(chosen), len(chosen))
        if int8 is not None and judged is not None:
            candidates += [
                _quantise(work, candidate, judged, largest_drop=int8.largest_drop)
                for candidate in candidates
                if candidate.format.quantise is not None
            ]
        latencies = _times(work, candidates, np.resize(pictures, (batch or 1, *pictures.shape[1:])))
        kept = {each.format.name: each for each in candidates if each.precision == FLOAT32}
        results = []
        for each in candidates:
            if each.precision == INT8:
                before = latencies[kept[each.format.name].title].median_ms
                result = Int8Result(
                    name=each.format.name,
                    rounds=each.rounds,
                    layers=len(each.format.int8_layers(work.source)),
                    spared=each.format.spared,
                    faster=before / latencies[each.title].median_ms,
                )
                results.append(result)
                if result.written:
                    kept[each.format.name] = each
        timed = [
            Timed(name=EAGER, precision=FLOAT32, latency=latencies[EAGER], difference=None, size_bytes=None, path=None)
        ]
        timed += [
            Timed(
                name=each.format.name,
                precision=each.precision,
                latency=latencies[each.title],
                difference=each.difference,
                size_bytes=sum(path.stat().st_size for path in each.format.files(each.path)),
                path=paths[each.format.name] if kept[each.format.name] is each else None,
            )
            for each in candidates
        ]
        for each in kept.values():
            _place(each, paths[each.format.name])
    return Exported(timed=tuple(timed), int8=tuple(results), compared=len(pictures), threads=threads, batch=batch)


def _chosen(paths: Mapping[str, Path], formats: Mapping[str, Format], *, overwrite: bool) -> list[Format]:
    """The formats of `paths`, where all of those can be written."""
    if not paths:
        raise ValueError("name at least one format")
    taken: set[Path] = set()
    for name, path in paths.items():
        if name not in formats:
            raise ValueError(f"no format is called {name!r}; valid: {', '.join(formats)}")
        if path.suffix != formats[name].suffix:
            raise ValueError(f"a file for {name} is called NAME{formats[name].suffix}, not {path.name}")
        if not path.parent.is_dir():
            raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
        for file in formats[name].files(path):
            if file in taken:
                raise ValueError(f"two formats cannot both be written to {file}")
            if file.is_dir() or (file.exists() and not overwrite):
                raise ValueError(f"{file} exists; --force overwrites it")
            taken.add(file)
    return [formats[name] for name in paths]


def _check_int8(int8: Int8, model: Model, chosen: Sequence[Format]) -> None:
    able = [format for format in chosen if format.quantise is not None]
    if not able:
        raise ValueError(f"{' and '.join(format.name for format in chosen)} cannot be written in int8")
    if not (math.isfinite(int8.largest_drop) and int8.largest_drop >= 0):
        raise ValueError(f"the largest drop must be 0 points or more, got {int8.largest_drop:g}")
    if not model.network.num_classes:
        raise ValueError(f"{model.network.spec.name} has no classes to judge int8 by")
    for format in able:
        format.check_int8()


def _reference(model: Model) -> Runner:
    engine = eager_engine(model)

    def run(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = engine(images).numpy()
        return logits

    return in_batches(run, batch=None)


def _write(work: _Work, format: Format, pictures: npt.NDArray[np.uint8]) -> _Candidate:
    """The network in float32, read back and compared."""
    folder = work.folder / f"{format.name}-{FLOAT32}"
    folder.mkdir()
    path = folder / f"network{format.suffix}"
    format.write(work.source, path)
    run = work.open(format, path)
    logits, expected = run(pictures), work.reference(pictures)
    difference = float(np.abs(logits - expected).max()) if logits.shape == expected.shape else math.inf
    if not difference <= TOLERANCE:  # neither is NaN
        raise ExportMismatch(
            f"the {format.name} file computes other logits than torch: they differ by {difference:.2g} on "
            f"{len(pictures)} images, where {TOLERANCE:g} is allowed; nothing was written"
        )
    return _Candidate(format=format, precision=FLOAT32, path=path, run=run, difference=difference)


def _quantise(work: _Work, exact: _Candidate, judged: Int8Images, *, largest_drop: float) -> _Candidate:
    """The network in int8, with as many layers spared as it takes."""
    format, what = exact.format, f"{exact.format.name} in int8"
    assert format.quantise is not None
    layers = format.int8_layers(work.source)
    tries, most = itertools.count(), TRIES_BEFORE + len(format.shares)

    def quantise(kept: frozenset[str]) -> _Candidate:
        number = next(tries)
        work.tell(what, number, most)
        folder = work.folder / f"{format.name}-{INT8}-{number}"
        folder.mkdir()
        path = folder / f"network{format.suffix}"
        assert format.quantise is not None
        format.quantise(work.source, exact.path, path, Calibration(judged.calibration, kept))
        return _Candidate(format=format, precision=INT8, path=path, run=work.open(format, path))

    found = guarded(
        quantise,
        work.reference,
        judged.judged,
        judged.labels,
        largest_drop=largest_drop,
        shares=format.shares,
        fragile=fragile_layers(work.source.model.network).intersection(layers),
        rank_sensitivity=lambda: format.rank(
            work.source,
            judged.calibration[:RANKED],
            lambda done, total: work.tell(f"which layers hurt {what}", done, total),
        ),
    )
    work.tell(what, most, most)
    return replace(found.runner, rounds=found.rounds)


def _times(work: _Work, candidates: Sequence[_Candidate], images: npt.NDArray[np.uint8]) -> dict[str, Latency]:
    work.tell("timing in turns", 0, 1)
    runs: dict[str, Runner] = {EAGER: work.reference, **{each.title: each.run for each in candidates}}
    latencies = time_in_turns({title: partial(run, images) for title, run in runs.items()})
    work.tell("timing in turns", 1, 1)
    return latencies


def _place(candidate: _Candidate, target: Path) -> None:
    """Copy the files of `candidate` to where they are wanted, each whole or not at all."""
    files = zip(candidate.format.files(candidate.path), candidate.format.files(target), strict=True)
    for made, wanted in files:
        with atomic_path(wanted) as temporary:
            shutil.copyfile(made, temporary)
