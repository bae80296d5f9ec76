"""Checkpoints that are damaged, hostile or gone: the one before is taken, or the run is left alone."""

import json
import os
import pickle
import signal
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors import safe_open
from safetensors.torch import save

from tests.train.tiny import SOURCE, assert_same_run, recipe, splits
from triscale.train import Resources, train
from triscale.train.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    Damaged,
    checkpoint_files,
    checkpoint_step,
    read_checkpoint,
    write_checkpoint,
)
from triscale.train.log import read_log
from triscale.train.run_folder import RunFolder

OFTEN = Resources(checkpoint_every_s=0)
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    path = tmp_path_factory.mktemp("whole") / "run"
    train(recipe(), splits(), path, source=SOURCE)
    return path


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run stopped after update 6, with the checkpoints of updates 4, 5 and 6."""

    def watch(event: str, step: int, _values: dict[str, Any]) -> None:
        if event == "step" and step == 6:
            signal.raise_signal(signal.SIGTERM)

    train(recipe(), splits(), tmp_path / "run", source=SOURCE, resources=OFTEN, watch=watch)
    return tmp_path / "run"


def files(folder: Path) -> list[Path]:
    return checkpoint_files(RunFolder(folder).checkpoints)


def named(folder: Path, step: int, data: bytes) -> Path:
    """A file whose name has the right digest, whatever is in it."""
    path = folder / f"step-{step:09d}-{blake2b(data, digest_size=16).hexdigest()}.safetensors"
    path.write_bytes(data)
    return path


def of_header(header: bytes, tensors: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + tensors


def of_metadata(metadata: dict[str, str], **tensors: torch.Tensor) -> bytes:
    return save(tensors or {"network/a": torch.zeros(1)}, metadata)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a flipped bit": flip,
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 1),
    "huge, without taking room on the disk": lambda path: os.truncate(path, 1 << 40),
    "another one's name": lambda path: path.write_bytes(files(path.parents[1])[-1].read_bytes()) and None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(damage: str, stopped: Path, whole: Path) -> None:
    newest, before, *_ = files(stopped)
    DAMAGES[damage](newest)
    heard: list[tuple[str, int, dict[str, Any]]] = []
    one_kept = Resources(checkpoint_every_s=0, keep_checkpoints=1)
    train(recipe(), splits(), stopped, source=SOURCE, resources=one_kept, resume=True, watch=lambda *t: heard.append(t))
    events = {event: (step, values) for event, step, values in heard if event in ("damaged checkpoint", "resumed")}
    assert events["resumed"][0] == checkpoint_step(before) == 5
    assert newest.name in events["damaged checkpoint"][1]["message"]
    logged = [row["message"] for row in read_log(RunFolder(stopped).log) if row["event"] == "damaged checkpoint"]
    assert logged == [events["damaged checkpoint"][1]["message"]]
    assert_same_run(stopped, whole)


def test_where_all_are_damaged_nothing_is_overwritten(stopped: Path) -> None:
    for path in files(stopped):
        flip(path)
    model = RunFolder(stopped).model.read_bytes()
    with pytest.raises(ValueError, match=r"none of the \d checkpoints in .*checkpoints is whole; remove that folder"):
        train(recipe(), splits(), stopped, source=SOURCE, resume=True)
    assert RunFolder(stopped).model.read_bytes() == model
    assert any(row["event"] == "damaged checkpoint" for row in read_log(RunFolder(stopped).log))
    for path in files(stopped):
        path.unlink()
    assert train(recipe(), splits(), stopped, source=SOURCE, resume=True).finished


def test_files_of_other_names_are_no_checkpoints(stopped: Path, whole: Path) -> None:
    folder = RunFolder(stopped).checkpoints
    (folder / "step-000000099.safetensors").write_bytes(b"other")
    (folder / f"step-000000099-{'0' * 32}.safetensors").mkdir()
    os.mkfifo(folder / f"step-000000098-{'0' * 32}.safetensors")
    train(recipe(), splits(), stopped, source=SOURCE, resume=True)
    assert_same_run(stopped, whole)


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "a header that claims the sky": (1 << 62).to_bytes(8, "little") + b"{}",
    "no JSON": of_header(b"no JSON at all"),
    "no UTF-8": of_header(b"\xff\xfe{}"),
    "deep": of_header(b"[" * 100_000),
    "a list": of_header(b"[1, 2]"),
    "a pickle": pickle.dumps({"network/a": "tensor"}),
    "tensors that overlap the end": of_header(
        b'{"__metadata__": {"step": "9"}, "a": {"dtype": "F32", "shape": [1000000], "data_offsets": [0, 4000000]}}'
    ),
    "a kind that nobody knows": of_header(b'{"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
    "no metadata": save({"network/a": torch.zeros(1)}),
    "a step that is no number": of_metadata({"step": "nine", "progress": "{}"}),
    "another step": of_metadata({"step": "8", "progress": "{}"}),
    "no progress": of_metadata({"step": "9"}),
    "progress that is no JSON": of_metadata({"step": "9", "progress": "{"}),
    "deep progress": of_metadata({"step": "9", "progress": "[" * 100_000}),
}


@pytest.mark.parametrize("content", HOSTILE)
def test_hostile_files_are_refused_whatever_their_name_says(content: str, tmp_path: Path) -> None:
    with pytest.raises(Damaged):
        read_checkpoint(named(tmp_path, 9, HOSTILE[content]), limit_bytes=LIMIT)


@given(st.binary(max_size=400))
@settings(max_examples=50)
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    with pytest.raises(Damaged):
        read_checkpoint(named(tmp_path_factory.mktemp("random"), 9, data), limit_bytes=LIMIT)


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], None]) -> Path:
    """A later checkpoint, whole in itself, that is not what this run would have written."""
    found = read_checkpoint(path, limit_bytes=LIMIT)
    tensors, progress = dict(found.tensors), dict(found.progress)
    change(tensors, progress)
    metadata = {"step": "9", "progress": json.dumps(progress)}
    return named(path.parent, 9, save(tensors, metadata))


def first(tensors: dict[str, torch.Tensor], part: str) -> str:
    return next(name for name in tensors if name.startswith(part) and tensors[name].ndim)


OTHERS: dict[str, Callable[[dict[str, torch.Tensor], dict[str, Any]], Any]] = {
    "a weight less": lambda tensors, _: tensors.pop(first(tensors, "network")),
    "an average less": lambda tensors, _: tensors.pop(first(tensors, "average")),
    "a memory less": lambda tensors, _: tensors.pop(first(tensors, "optimizer")),
    "an unknown part": lambda tensors, _: tensors.update({"other/x": torch.zeros(1)}),
    "an unknown parameter": lambda tensors, _: tensors.update({"optimizer/x/exp_avg": torch.zeros(1)}),
    "another shape": lambda tensors, _: tensors.update({first(tensors, "optimizer"): torch.zeros(3)}),
    "another type": lambda tensors, _: tensors.update(
        {first(tensors, "network"): tensors[first(tensors, "network")].double()}
    ),
    "unknown progress": lambda _, progress: progress.update(joy=1),
    "progress of another type": lambda _, progress: progress.update(rate_cuts="all"),
}


@pytest.mark.parametrize("change", OTHERS)
def test_a_checkpoint_of_something_else_is_skipped(change: str, stopped: Path, whole: Path) -> None:
    newest, *_ = files(stopped)
    rewritten(newest, lambda tensors, progress: OTHERS[change](tensors, progress))
    train(recipe(), splits(), stopped, source=SOURCE, resume=True)
    (row,) = (row for row in read_log(RunFolder(stopped).log) if row["event"] == "damaged checkpoint")
    assert "the checkpoint of update 9 is not of this run" in row["message"]
    assert_same_run(stopped, whole)


def tiny_checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"network/a": torch.full((2,), float(step))}, {})


@pytest.mark.parametrize("every", [1, 3, 7, 40])
@pytest.mark.parametrize("keep", [1, 3])
def test_one_checkpoint_always_lies_as_far_back_as_a_roll_back_goes(tmp_path: Path, every: int, keep: int) -> None:
    reach, steps = 16, range(every, 161, every)
    for step in steps:
        write_checkpoint(tmp_path, tiny_checkpoint(step), keep=keep, reach=reach)
        kept = [checkpoint_step(path) for path in checkpoint_files(tmp_path)]
        written = [earlier for earlier in steps if earlier <= step]
        assert kept[:keep] == written[::-1][:keep]
        assert len(kept) <= keep + 3
        # In a young run, going back further than to the first checkpoint is going back to the beginning.
        assert min(kept) <= max(step - reach, every if every > 1 else 1)


def test_a_writer_copies_before_training_goes_on(tmp_path: Path) -> None:
    weights = torch.zeros(1 << 16)
    with CheckpointWriter(tmp_path, keep=1, reach=1) as writer:
        for step in range(1, 20):
            weights.fill_(step)
            writer.write(Checkpoint(step, {"network/a": weights}, {}))
            weights.fill_(-1.0)
    found = read_checkpoint(checkpoint_files(tmp_path)[0], limit_bytes=LIMIT)
    assert found.step == 19
    assert torch.all(found.tensors["network/a"] == 19)


def test_a_checkpoint_is_a_safetensors_file(tmp_path: Path) -> None:
    """Their own reader finds every kind of tensor as it was, in whatever order its elements lay in memory."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "half": torch.randn(3, generator=generator).half(),
        "weight": torch.randn(2, 3, 5, 5, generator=generator).to(memory_format=torch.channels_last),
        "count": torch.tensor(7),
        "step": torch.tensor(7.0),
        "nothing": torch.zeros(0, 4),
        "brain": torch.randn(5, generator=generator).bfloat16(),
        "double": torch.randn(1, generator=generator).double(),
    }
    path = write_checkpoint(tmp_path, Checkpoint(5, tensors, {"best_top1": 0.5, "name": "\u00e9"}), keep=1, reach=1)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(tensors)
        assert json.loads(file.metadata()["progress"]) == {"best_top1": 0.5, "name": "\u00e9"}
        for name, tensor in tensors.items():
            torch.testing.assert_close(file.get_tensor(name), tensor.contiguous(), rtol=0, atol=0)
