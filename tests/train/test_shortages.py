"""Disk full, memory out, data gone, a reader killed: one clear line, nothing lost, and a run to go on with."""

import errno
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.broken import write_with_broken
from tests.data.datasets.sources import picture
from tests.train.processes import descendants
from tests.train.tiny import SOURCE, SPEC, assert_same_run, recipe, splits
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import square
from triscale.data.dataset import Splits
from triscale.data.datasets import open_dataset
from triscale.train import Recipe, Resources, train
from triscale.train.checkpoint import checkpoint_files, read_checkpoint
from triscale.train.fitting import OutOfMemory, is_out_of_memory
from triscale.train.log import read_log
from triscale.train.run_folder import RunFolder

OFTEN = Resources(checkpoint_every_s=0)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write files beyond `size` bytes, as it refuses on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def refused(folder: Path, *, after: int, size: Any, resources: Resources) -> OSError:
    """What a run raises on a disk that is full from update `after` on, up to which nothing was wrong."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def watch(event: str, step: int, _values: dict[str, Any]) -> None:
        if event == "step" and step == after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size(), hard))

    with largest_file(hard), pytest.raises(OSError) as caught:  # noqa: PT011
        train(recipe(), splits(), folder, source=SOURCE, resources=resources, watch=watch)
    return caught.value


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    train(recipe(), splits(), path, source=SOURCE)
    return path


def assert_nothing_lost(folder: Path, whole: Path) -> None:
    """Every file is whole, none is half-written, and the run goes on to the same end."""
    assert not list(folder.rglob("*.partial"))
    for path in checkpoint_files(RunFolder(folder).checkpoints):
        read_checkpoint(path, limit_bytes=1 << 24)
    train(recipe(), splits(), folder, source=SOURCE, resume=True)
    assert_same_run(folder, whole)


@pytest.mark.parametrize("after", [1, 6])
def test_disk_full_at_a_checkpoint(after: int, tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "run"
    error = refused(folder, after=after, size=lambda: 8000, resources=OFTEN)
    assert error.errno == errno.EFBIG
    assert f"checkpoints/step-{after:09d}" in str(error.filename)
    assert str(error.strerror).endswith("; free some space, then go on with --resume")
    if after == 6:
        assert len(checkpoint_files(RunFolder(folder).checkpoints)) >= 3
    assert_nothing_lost(folder, whole)


def test_disk_full_at_the_model(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "run"
    error = refused(folder, after=4, size=lambda: 4000, resources=Resources())
    assert error.filename == str(RunFolder(folder).model)
    assert not RunFolder(folder).model.exists()
    assert_nothing_lost(folder, whole)


def test_disk_full_at_a_line_of_the_log(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "run"
    log = RunFolder(folder).log
    error = refused(folder, after=6, size=lambda: log.stat().st_size + 20, resources=Resources())
    assert error.filename == str(log)
    assert "free some space" in str(error.strerror)
    assert not log.read_bytes().endswith(b"\n"), "half a line"
    assert_nothing_lost(folder, whole)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_disk_full_when_flushing(call: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: Path) -> None:
    """Some file systems tell only then that there is no room."""
    counted = 0

    def full(*_: Any) -> None:
        nonlocal counted
        counted += 1
        if counted > 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*_)

    owner: Any = os if call == "fsync" else Path
    original = getattr(owner, call)
    monkeypatch.setattr(owner, call, full)
    with pytest.raises(OSError, match="No space left on device; free some space, then go on") as caught:
        train(recipe(), splits(), tmp_path / "run", source=SOURCE, resources=OFTEN)
    assert str(tmp_path / "run") in str(caught.value.filename)
    monkeypatch.undo()
    assert_nothing_lost(tmp_path / "run", whole)


def test_memory_out_in_an_update(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: Path) -> None:
    backward = torch.autograd.backward
    calls = 0

    def starved(*tensors: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 15:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB.")
        backward(*tensors)

    monkeypatch.setattr(torch.autograd, "backward", starved)
    with pytest.raises(OutOfMemory, match=r"^memory ran out; resume with --recompute, or [^\n]*$"):
        train(recipe(), splits(), tmp_path / "run", source=SOURCE, resources=OFTEN)
    monkeypatch.undo()
    assert_nothing_lost(tmp_path / "run", whole)


class Starving:
    """Images that take more memory than there is."""

    class_names = ("lying", "standing")
    labels = np.arange(72, dtype=np.int64) % 2

    def image(self, index: int) -> Any:
        if index:
            raise MemoryError
        return np.zeros((12, 12, 1), np.uint8)

    def name(self, index: int) -> str:
        return str(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_memory_out_in_a_reader(workers: int, tmp_path: Path) -> None:
    data, resources = Splits(Starving(), Starving()), Resources(workers=workers)
    with pytest.raises(OutOfMemory, match=r"^memory ran out"):
        train(recipe(), data, tmp_path / "run", source=SOURCE, resources=resources)


def test_torchs_own_words_for_it_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def photographs(*, classes: int = 2, **changes: Any) -> Recipe:
    """For pictures in files: colour, 16 pixels."""
    network = replace(SPEC, input_channels=3, resolution=square(16), classes=classes)
    preprocessing = Preprocessing(square(16), crop=1.0, mean=(0.5,) * 3, std=(0.25,) * 3)
    return recipe(network=network, preprocessing=preprocessing, **changes)


def write_folder(root: Path, *, images: int) -> None:
    from PIL import Image

    for number in range(images):
        path = root / ("even", "odd")[number % 2] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(path)


@pytest.mark.parametrize("workers", [0, 1])
def test_data_that_vanishes(workers: int, tmp_path: Path) -> None:
    write_folder(tmp_path / "data", images=90)
    data = open_dataset(str(tmp_path / "data"))
    train(photographs(), data, tmp_path / "whole", source=SOURCE, resources=Resources(workers=0))

    def watch(event: str, step: int, _values: dict[str, Any]) -> None:
        if event == "step" and step == 6:
            (tmp_path / "data").rename(tmp_path / "elsewhere")

    resources = Resources(workers=workers, checkpoint_every_s=0)
    with pytest.raises(ValueError, match=r"^(none of \d+ images in turn could be read|there is no readable)") as caught:
        train(photographs(epochs=3), data, tmp_path / "run", source=SOURCE, resources=resources, watch=watch)
    assert "\n" not in str(caught.value)
    assert "no such file" in str(caught.value)
    (tmp_path / "elsewhere").rename(tmp_path / "data")
    train(photographs(), data, tmp_path / "run", source=SOURCE, resume=True, resources=Resources(workers=0))
    if not workers:  # what was read ahead may have been replaced
        assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_reading_process_that_is_killed(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", images=90)
    data = open_dataset(str(tmp_path / "data"))
    train(photographs(), data, tmp_path / "whole", source=SOURCE, resources=Resources(workers=0))

    def watch(event: str, step: int, _values: dict[str, Any]) -> None:
        if event == "step" and step == 2:
            _, workers = descendants(os.getpid())  # below their server
            for worker in workers:
                os.kill(worker, signal.SIGKILL)

    with pytest.raises(
        ChildProcessError, match=r"^a process that read images was killed, perhaps since memory ran out"
    ):
        train(photographs(epochs=3), data, tmp_path / "run", source=SOURCE, resources=Resources(workers=1), watch=watch)
    train(photographs(), data, tmp_path / "run", source=SOURCE, resume=True, resources=Resources(workers=0))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_thousand_images_of_which_fifty_are_broken(tmp_path: Path) -> None:
    broken = write_with_broken(tmp_path / "data", images=1000, broken=50)
    data = open_dataset(str(tmp_path / "data"))
    asked = photographs(classes=len(data.train.class_names), epochs=2, batch_size=8, minival=0.1)
    counts = []
    for workers in (0, 2):
        folder = tmp_path / f"run-{workers}"
        outcome = train(asked, data, folder, source=SOURCE, resources=Resources(workers=workers))
        assert outcome.finished
        named = [row["image"] for row in read_log(RunFolder(folder).log) if row["event"] == "broken image"]
        assert len(named) == 50
        assert set(named) == broken
        newest = checkpoint_files(RunFolder(folder).checkpoints)[0]
        counts.append(read_checkpoint(newest, limit_bytes=1 << 24).progress["broken_images"])
    assert counts[0] == counts[1] >= 30
    assert_same_run(tmp_path / "run-2", tmp_path / "run-0")
    shutil.rmtree(tmp_path / "data")
