"""Checkpoints that are whole or absent, checked by their digest, and written while training goes on."""

import errno
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from triscale.arch.codec import parse_json
from triscale.storage import atomic_path

_NAME: Final = re.compile(r"step-(\d{9})-([0-9a-f]{32})\.safetensors")
_DIGEST_BYTES: Final = 16
_DTYPES: Final = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}


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


def _digest(*pieces: bytes | memoryview) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _pieces(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """A safetensors file: its header, then the tensors' own memory, so that nobody waits while it is copied.

    The format: 8 bytes with the header's length, the header as JSON with each tensor's kind, shape and place, the
    tensors one after the other. Those with the largest elements come first, so that all lie at multiples of them.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    pieces: list[bytes | memoryview] = []
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        piece: memoryview = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
        place = [end, end + piece.nbytes]
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        pieces.append(piece)
        end = place[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *pieces]


def checkpoint_step(path: Path) -> int:
    """The update after which the checkpoint at `path` was written, by its name."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first; nothing where there is no such folder."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_file()]
    return sorted(found, key=checkpoint_step, reverse=True)


def _superfluous(files: Sequence[Path], *, newest: int, keep: int, reach: int) -> list[Path]:
    """Which of `files`, newest first, nobody needs once the one of update `newest` is written.

    Later ones are damaged or were given up, or that update would not have come again. Of the others the last `keep`
    stay, and the first of each of the last three stretches of `reach` updates: however densely they are written, one
    of them lies `reach` updates back.
    """
    due = [path for path in files if checkpoint_step(path) <= newest]
    firsts = {checkpoint_step(path) // reach: path for path in due}
    kept = {*due[:keep], *(firsts[stretch] for stretch in sorted(firsts)[-3:])}
    return [path for path in files if path not in kept]


def write_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int, reach: int) -> Path:
    """Write a checkpoint whose name holds its digest, then remove those that are needed no more.

    The newest `keep` stay, and those needed to go back by `reach` updates. Nothing is removed before the new one lies
    on the disk. Raises OSError, naming the file, where the disk is full.
    """
    metadata = {"step": str(checkpoint.step), "progress": json.dumps(checkpoint.progress, allow_nan=False)}
    pieces = _pieces(checkpoint.tensors, metadata)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{checkpoint.step:09d}-{_digest(*pieces)}.safetensors"
    with atomic_path(path) as temporary, temporary.open("wb", buffering=0) as file:
        for piece in pieces:
            _write_all(file, memoryview(piece))
    for old in _superfluous(checkpoint_files(folder), newest=checkpoint.step, keep=keep, reach=reach):
        old.unlink(missing_ok=True)
    return path


def _write_all(file: FileIO, data: memoryview) -> None:
    """One call may write only a part."""
    while data:
        data = data[file.write(data) :]


def _read_bytes(path: Path, *, limit_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Damaged(f"{path} is damaged: the disk cannot read it") from None
    if len(data) > limit_bytes:
        raise Damaged(f"{path} is damaged: it has more than {limit_bytes} bytes")
    return data


def read_checkpoint(path: Path, *, limit_bytes: int) -> Checkpoint:
    """Read a checkpoint of at most `limit_bytes`; nothing in it is executed.

    Raises Damaged where its bytes do not have the digest that its name tells, or are no checkpoint.
    """
    data = _read_bytes(path, limit_bytes=limit_bytes)
    match = _NAME.fullmatch(path.name)
    assert match is not None
    if _digest(data) != match[2]:
        raise Damaged(f"{path} is damaged: its digest is not that of its name")
    where = str(path)
    try:
        tensors = load(data)
        text = data[8 : 8 + int.from_bytes(data[:8], "little")].decode()
        header = parse_json(text, where=where)["__metadata__"]
        step, progress = int(header["step"]), parse_json(header["progress"], where=where)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise Damaged(f"{path} is no checkpoint: {type(error).__name__}: {error}") from None
    if step != int(match[1]):
        raise Damaged(f"{path} is no checkpoint: it says that it is of update {step}")
    return Checkpoint(step, tensors, progress)


class CheckpointWriter:
    """Writes checkpoints behind the back of training: one at a time, from a copy of the tensors."""

    def __init__(self, folder: Path, *, keep: int, reach: int) -> None:
        self._folder, self._keep, self._reach = folder, keep, reach
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-checkpoint")
        self._pending: Future[Path] | None = None

    @property
    def idle(self) -> bool:
        """Whether the last checkpoint is done, so that another one need not wait.

        Raises what went wrong with it.
        """
        if self._pending is not None and self._pending.done():
            self.wait()
        return self._pending is None

    def write(self, checkpoint: Checkpoint) -> None:
        """Copy `checkpoint` and write it in the background.

        Waits for the one before, and raises what that one raised, such as OSError where the disk is full.
        """
        self.wait()
        tensors = {name: live.detach().to("cpu", copy=True) for name, live in checkpoint.tensors.items()}
        copied = checkpoint._replace(tensors=tensors, progress=dict(checkpoint.progress))
        self._pending = self._pool.submit(write_checkpoint, self._folder, copied, keep=self._keep, reach=self._reach)

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
        # A count of steps is a single number; the rest lies in memory as its weights do. Both are on their device.
        like = torch.empty_like(parameter) if value.ndim else torch.empty_like(value, device=parameter.device)
        optimizer.state[parameter][kind] = like.copy_(value)
