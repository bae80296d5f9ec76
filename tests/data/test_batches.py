"""Batches hold the images in order, name the broken ones, and read no further ahead than they say."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import coffee, encoded, small
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import square
from triscale.data import batches
from triscale.data.batches import read_batches
from triscale.data.errors import ImageError
from triscale.data.limits import Limits
from triscale.data.preprocess import preprocess
from triscale.data.read import ImageBytes, Source, read_image

PREPROCESSING = Preprocessing(square(16))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Eleven files of different shades; the third, the sixth and the last are broken."""
    paths = [tmp_path / f"{index:02}.png" for index in range(11)]
    for index, path in enumerate(paths):
        path.write_bytes(encoded(np.full((20 + index, 30, 3), 20 * index, np.uint8), "PNG"))
    paths[2].write_bytes(b"")
    paths[5].write_bytes(b"text")
    paths[10].unlink()
    return paths


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_order_and_errors(images: list[Path], batch_size: int, workers: int) -> None:
    read = list(read_batches(images, PREPROCESSING, batch_size=batch_size, workers=workers))
    assert [len(batch.outcomes) for batch in read] == [
        min(batch_size, 11 - start) for start in range(0, 11, batch_size)
    ]
    outcomes = [outcome for batch in read for outcome in batch.outcomes]
    assert [source for source, _ in outcomes] == images
    for batch in read:
        assert batch.images.shape == (len(batch.sources), 16, 16, 3)
        assert batch.images.dtype == np.uint8
        assert [outcome for _, outcome in batch.outcomes if isinstance(outcome, int)] == list(range(len(batch.images)))
        for source, image in zip(batch.sources, batch.images, strict=True):
            assert isinstance(source, Path)
            assert np.array_equal(image, preprocess(read_image(source), PREPROCESSING))
    errors = [error for batch in read for error in batch.errors]
    assert [error.path for error in errors] == [images[2], images[5], images[10]]
    assert [error.reason for error in errors][::2] == ["the file is empty", "no such file or directory"]


def test_errors_do_not_hold_on_to_the_file(images: list[Path]) -> None:
    (batch,) = read_batches(images, PREPROCESSING, batch_size=11, workers=1)
    for error in batch.errors:
        assert error.__traceback__ is None
        assert error.__context__ is None


def test_bytes_and_limits(images: list[Path]) -> None:
    sources: list[Source] = [ImageBytes("-", images[0].read_bytes()), images[1]]
    (batch,) = read_batches(sources, PREPROCESSING, batch_size=2, workers=1, limits=Limits(pixels=600))
    assert batch.sources == (sources[0],)
    assert batch.errors[0].reason == "30 x 21 pixels are over the limit of 0.0006 million"


def test_nothing() -> None:
    assert list(read_batches([], PREPROCESSING, batch_size=4, workers=2)) == []


def test_one_channel(images: list[Path]) -> None:
    grey = Preprocessing(square(16), mean=(0.5,), std=(0.5,))
    (batch,) = read_batches(images[:2], grey, batch_size=4, workers=1)
    assert batch.images.shape == (2, 16, 16, 1)


@pytest.mark.parametrize(("batch_size", "workers"), [(0, 1), (1, 0)])
def test_counts_are_positive(batch_size: int, workers: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        read_batches([], PREPROCESSING, batch_size=batch_size, workers=workers)


def test_reads_no_further_ahead_than_a_batch_and_an_image_a_worker(images: list[Path]) -> None:
    asked = 0

    def endless() -> Iterator[Path]:
        nonlocal asked
        while True:
            asked += 1
            yield images[0]

    reading = read_batches(endless(), PREPROCESSING, batch_size=5, workers=3)
    for taken in range(1, 20):
        next(reading)
        assert 5 * taken <= asked <= 5 * taken + 5 + 3 + 1


def test_workers_read_at_the_same_time(images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3, timeout=20)

    def read_together(source: Source, *, limits: Limits) -> np.ndarray:
        together.wait()
        return read_image(source, limits=limits)

    monkeypatch.setattr(batches, "read_image", read_together)
    (batch,) = read_batches(images[:1] * 6, PREPROCESSING, batch_size=6, workers=3)
    assert len(batch.images) == 6


def test_threads_end_when_the_loop_is_left(images: list[Path]) -> None:
    before = threading.active_count()
    reading = read_batches(images * 100, PREPROCESSING, batch_size=2, workers=3)
    next(reading)
    assert threading.active_count() > before
    reading.close()
    assert threading.active_count() == before


def test_a_fault_of_ours_is_no_broken_image(images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> np.ndarray:
        raise ZeroDivisionError

    monkeypatch.setattr(batches, "read_image", fail)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(read_batches(images, PREPROCESSING, batch_size=2, workers=2))
    assert threading.active_count() == before


def test_source_that_fails_on_the_way(images: list[Path]) -> None:
    def failing() -> Iterator[Path]:
        yield images[0]
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(read_batches(failing(), PREPROCESSING, batch_size=2, workers=2))


INTERRUPTED = """
import itertools, sys
from pathlib import Path
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import square
from triscale.data.batches import read_batches

try:
    for batch in read_batches(itertools.repeat(Path(sys.argv[1])), Preprocessing(square(224)), batch_size=4, workers=2):
        print("batch", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(small(coffee(), height=1200, width=1800), "JPEG"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", INTERRUPTED, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "batch\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert output.splitlines()[-1] == "interrupted"
    assert errors == ""
    assert process.returncode == 0


def test_error_type() -> None:
    (batch,) = read_batches([Path("/nowhere.jpg")], PREPROCESSING, batch_size=1, workers=1)
    assert all(isinstance(error, ImageError) for error in batch.errors)
    assert batch.images.shape == (0, 16, 16, 3)
