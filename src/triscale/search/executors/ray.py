"""Trainings on a cluster, by Ray; the only file that imports it."""

import contextlib
import os
import socket
import time
from types import TracebackType
from typing import Any, Final, Self

from triscale.search.executors import Finished, Work
from triscale.search.executors.local import THREAD_SETTINGS
from triscale.search.executors.pickled import answer, packed, unpacked

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError:
    raise ValueError("a cluster is reached with Ray; install it: pip install 'triscale[search]'") from None

_REACHED_S: Final = 10.0
"""How long a cluster's machine may take to accept a connection; Ray itself would try for minutes."""


class RayExecutor:
    """As many tasks as `slots`, each with `cpus` cores and `gpus` GPUs.

    `address` is that of a running cluster, such as "auto" or "ray://host:10001"; without one, a cluster of this
    machine is begun, and ended with this executor. Unless given, `slots` is what the cluster's cores and GPUs allow.
    Images must be found under the same names on every machine. A folder of trainings that all machines share lets a
    training that was cut short go on from its checkpoint; elsewhere it begins anew.

    Raises ValueError where the cluster cannot be reached or has room for no training, and for less than one slot.
    """

    def __init__(
        self, address: str | None = None, *, slots: int | None = None, cpus: float = 1.0, gpus: float = 0.0
    ) -> None:
        if slots is not None and slots < 1:
            raise ValueError(f"at least one training must run at a time, got {slots}")
        if cpus <= 0 or gpus < 0:
            raise ValueError(f"a training needs more than 0 CPU and no less than 0 GPU, got {cpus:g} and {gpus:g}")
        self._begun = not ray.is_initialized()
        if self._begun:
            _begin(address, slots=slots, cpus=cpus)
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        wanted = {"CPU": cpus, "GPU": gpus}
        room = min(int(resources.get(name, 0) / amount) for name, amount in wanted.items() if amount > 0)
        if room < 1:
            self.__exit__(None, None, None)
            offered = ", ".join(f"{resources.get(name, 0):g} {name}" for name in wanted)
            raise ValueError(f"the cluster has {offered}; a training needs {cpus:g} CPU and {gpus:g} GPU")
        self.slots = room if slots is None else min(slots, room)
        gpu = f", {gpus:g} GPU" if gpus else ""
        self.description = f"Ray, {self.slots} at a time, {cpus:g} core{'s' if cpus != 1 else ''}{gpu} each"
        # We count how often work is lost ourselves.
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_answer)
        self._threads = max(1, int(cpus))
        self._running: dict[Any, int] = {}

    def submit(self, number: int, work: Work) -> None:
        """Raises ValueError for work that cannot be pickled."""
        self._running[self._task.remote(packed(work), self._threads)] = number

    def finished(self, timeout_s: float) -> list[Finished]:
        """A worker, or a whole machine, that died makes its work lost."""
        if not self._running:
            time.sleep(timeout_s)
            return []
        first, _ = ray.wait(list(self._running), timeout=timeout_s)
        others, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [self._collect(ended) for ended in dict.fromkeys([*first, *others])]

    def _collect(self, ended: Any) -> Finished:
        number = self._running.pop(ended)
        try:
            return unpacked(number, ray.get(ended))
        except RayTaskError as raised:  # before the work began: the package is not installed there, for one
            return Finished(number=number, error=raised.cause if isinstance(raised.cause, Exception) else raised)
        except RayError:
            return Finished(number=number, lost=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for running in self._running if hasattr(self, "_running") else ():
            with contextlib.suppress(RayError):
                ray.cancel(running, force=True)
        if self._begun:
            ray.shutdown()


def _begin(address: str | None, *, slots: int | None, cpus: float) -> None:
    settings: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        settings |= {"include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of ours calls home unasked
        # A cluster of our own may run more trainings than there are cores, where that was asked for.
        if slots is not None:
            settings["num_cpus"] = max(1, round(slots * cpus))
    try:
        if address is not None:
            _check_reached(address)
        ray.init(address or "local", **settings)
    except (RayError, RuntimeError, ValueError, OSError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"no Ray cluster was reached at {address or 'this machine'}: {reason}") from None


def _check_reached(address: str) -> None:
    """Raises OSError, or OverflowError, where nothing listens at a host and port; names such as "auto" are let be."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACHED_S).close()


def _answer(work: bytes, threads: int) -> bytes:
    """Do `work` on as many threads as it has cores; Ray would leave a number that the processes inherited."""
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, str(threads)))
    return answer(work)
