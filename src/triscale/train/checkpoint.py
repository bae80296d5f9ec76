"""Checkpoints that are whole or absent, checked by their digest, and written while training goes on."""

import hashlib
import json
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from triscale.arch.codec import parse_json
from triscale.storage import atomic_path

_NAME: Final = re.compile(r"step-(\d{9})-([0-9a-f]{32})\.safetensors")
_DIGEST_BYTES: Final = 16


class Checkpoint(NamedTuple):
    """All that a run needs to go on as if it had never stopped."""

    step: int
    """Updates done."""
    tensors: Mapping[str, Tensor]
    """Weights, statistics, their average, and the optimizer's state, by name."""
    progress: Mapping[str, Any]
    """The rest, as JSON types: the best result so far, rollbacks, broken images."""


class Damaged(ValueError):
    """A checkpoint whose bytes are not those that were written."""


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def checkpoint_step(path: Path) -> int:
    """The update after which the checkpoint at `path` was written, by its name."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first; nothing where there is no such folder."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=checkpoint_step, reverse=True)


def write_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint whose name holds its digest, then remove all but the newest `keep`.

    Nothing is removed before the new one lies on the disk.
    """
    metadata = {"step": str(checkpoint.step), "progress": json.dumps(checkpoint.progress, allow_nan=False)}
    data = save({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, metadata)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{checkpoint.step:09d}-{_digest(data)}.safetensors"
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    for old in checkpoint_files(folder)[keep:]:
        old.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises Damaged where its bytes do not have the digest that its name tells.
    """
    data = path.read_bytes()
    match = _NAME.fullmatch(path.name)
    assert match is not None
    if _digest(data) != match[2]:
        raise Damaged(f"{path} is damaged: its digest is not that of its name")
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        tensors = load(data)
        return Checkpoint(int(header["step"]), tensors, parse_json(header["progress"], where=str(path)))
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise Damaged(f"{path} is no checkpoint: {error}") from None


def newest_whole(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint in `folder` that is whole, and what was wrong with the newer ones."""
    complaints: list[str] = []
    for path in checkpoint_files(folder):
        try:
            return read_checkpoint(path), complaints
        except Damaged as error:
            complaints.append(str(error))
    return None, complaints


class CheckpointWriter:
    """Writes checkpoints behind the back of training: one at a time, from a copy of the tensors."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-checkpoint")
        self._pending: Future[Path] | None = None

    def write(self, checkpoint: Checkpoint) -> None:
        """Copy `checkpoint` and write it in the background.

        Waits for the one before, and raises what that one raised, such as OSError where the disk is full.
        """
        self.wait()
        tensors = {name: live.detach().to("cpu", copy=True) for name, live in checkpoint.tensors.items()}
        copied = checkpoint._replace(tensors=tensors, progress=dict(checkpoint.progress))
        self._pending = self._pool.submit(write_checkpoint, self._folder, copied, keep=self._keep)

    def wait(self) -> None:
        """Return once the last checkpoint lies on the disk; raises what went wrong with it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the last one; what went wrong with it is raised unless something else already was."""
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown()


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """An optimizer's state by parameter and kind, such as `stages.0.0.branch.conv.weight/mean_square`."""
    return {
        f"{names[parameter]}/{kind}": value
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave; settings such as learning rates are left as they are."""
    optimizer.state.clear()
    for name, value in tensors.items():
        parameter_name, _, kind = name.rpartition("/")
        parameter = parameters[parameter_name]
        # A count of steps stays where the optimizer keeps it, on the CPU; the rest lies in memory as its weights do.
        optimizer.state[parameter][kind] = torch.empty_like(parameter).copy_(value) if value.ndim else value.clone()
