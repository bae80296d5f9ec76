"""Several processes that train one network: who takes part, and what they agree on."""

import os
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others; evaluation and checkpoints may keep one of them busy."""


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run, and which of them this is."""

    rank: int = 0
    size: int = 1
    control: distributed.ProcessGroup | None = None
    """Carries decisions between the processors, so that no device has to be waited for."""

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """`values` added over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it holds in any process; every process gets the same answers."""
        if self.size == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.int32)
        distributed.all_reduce(votes, distributed.ReduceOp.MAX, group=self.control)
        return tuple(bool(vote) for vote in votes.tolist())

    def gather(self, items: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The items of all processes, in the order of their ranks."""
        if self.size == 1:
            return items
        found: list[list[tuple[str, str]]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(found, items, group=self.control)
        return [item for part in found for item in part]

    def concatenate(self, rows: Tensor) -> Tensor:
        """The rows of all processes, on the CPU, in the order of their ranks."""
        if self.size == 1:
            return rows
        parts: list[Tensor] = [rows] * self.size
        distributed.all_gather_object(parts, rows, group=self.control)
        return torch.cat(parts)

    def agree(self, text: str) -> str:
        """What the leading process says; the others' texts are ignored."""
        if self.size == 1:
            return text
        said = [text]
        distributed.broadcast_object_list(said, src=0, group=self.control)
        return said[0]

    def wait(self) -> None:
        """Return once all processes have come here."""
        if self.size > 1:
            distributed.barrier(group=self.control)


def launched() -> bool:
    """Whether torchrun started this process."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """The processes that torchrun started, or this one alone.

    They talk through NCCL where they compute on GPUs, else through gloo.
    """
    if not launched():
        yield World()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    shared, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    store = _own_store(shared, rank=rank, size=size)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        control = distributed.new_group(backend="gloo", timeout=PATIENCE) if backend == "nccl" else None
        with _common_warnings_ignored():
            yield World(distributed.get_rank(), distributed.get_world_size(), control)
    finally:
        distributed.destroy_process_group()


def _own_store(store: Store, *, rank: int, size: int) -> Store:
    """A part of `store` that only the present processes know.

    torchrun keeps one store over its restarts, and gloo would look for the processes of the time before: they left
    their addresses in it. Nothing that torchrun tells a process is common to the new ones alone, on all machines, so
    the leading process hands out a word to everyone who is alive to answer.
    """
    own = uuid.uuid4().hex
    if rank:
        store.set(f"ask/{rank}", own)
        word = _answer(store, f"word/{own}")
        store.set(f"heard/{word}/{rank}", "")
    else:
        word = own
        waiting = set(range(1, size))
        until_s = time.monotonic() + PATIENCE.total_seconds()
        while waiting:
            for other in waiting:
                if store.check([f"ask/{other}"]):
                    store.set(f"word/{str(store.get(f'ask/{other}'), 'ascii')}", word)
            waiting = {other for other in waiting if not store.check([f"heard/{word}/{other}"])}
            _pause(until_s)
    return PrefixStore(word, store)


def _answer(store: Store, key: str) -> str:
    until_s = time.monotonic() + PATIENCE.total_seconds()
    while not store.check([key]):
        _pause(until_s)
    return str(store.get(key), "ascii")


def _pause(until_s: float) -> None:
    """Waits in Python, so that a signal to stop is heard, and not beyond `until_s`."""
    if time.monotonic() > until_s:
        raise TimeoutError(f"not all processes of this run came within {PATIENCE}; start it anew with --resume")
    time.sleep(0.02)


@contextmanager
def _common_warnings_ignored() -> Iterator[None]:
    """Keep two warnings of DistributedDataParallel from the user, who can do nothing about them.

    What takes the place of a deprecated argument is not in every torch that we run with, and the strides that it
    compares are those of dimensions of one element, where any stride is right.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".broadcast_buffers. is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        yield


def own_device(name: str) -> torch.device:
    """The device called `name` for this process: with several GPUs, each process of a machine takes its own.

    Raises ValueError for a device that is unknown or not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"{name!r} is no device; write cpu, cuda or cuda:0") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("this torch sees no CUDA GPU; leave --device out, or install torch for your GPU")
        if name == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if device.index >= torch.cuda.device_count():
            raise ValueError(f"there is no {device}; this machine has {torch.cuda.device_count()} GPUs")
        torch.cuda.set_device(device)
    return device


def default_device() -> str:
    """The fastest device that torch sees."""
    return "cuda" if torch.cuda.is_available() else "cpu"
