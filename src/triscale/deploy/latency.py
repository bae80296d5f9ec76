"""How long a network takes on this machine: torch on the CPU, batch norms folded, one batch after another."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, median

import torch

from triscale.arch.spec import NetworkSpec
from triscale.models.fold import fold_batch_norms
from triscale.models.network import build


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of one batch each, in milliseconds, after the warm-up."""

    times_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """The middle time, which a few disturbed runs do not move."""
        return median(self.times_ms)

    @property
    def mean_ms(self) -> float:
        """What the paper's Table 4 reports; one disturbed run moves it."""
        return fmean(self.times_ms)

    @property
    def fastest_ms(self) -> float:
        """The least disturbed time."""
        return min(self.times_ms)


def time_calls(call: Callable[[], object], *, warm_up: int = 3, runs: int = 15, limit_s: float = 5.0) -> Latency:
    """Times of `runs` calls after `warm_up` untimed ones.

    Slow calls are repeated less often: no call begins later than `limit_s` after the first, but three are
    always timed.
    """
    if runs < 1 or warm_up < 0:
        raise ValueError(f"at least 1 run and 0 warm-up runs are needed, got {runs} and {warm_up}")
    started_s = time.perf_counter()
    for index in range(warm_up):
        if index and time.perf_counter() - started_s > limit_s:
            break
        call()
    times_ms: list[float] = []
    while len(times_ms) < runs:
        begin_s = time.perf_counter()
        if begin_s - started_s > limit_s and len(times_ms) >= min(3, runs):
            break
        call()
        times_ms.append((time.perf_counter() - begin_s) * 1e3)
    return Latency(tuple(times_ms))


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run with `threads` CPU threads inside torch's operators; None leaves torch's choice."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure_latency(
    spec: NetworkSpec,
    *,
    batch_size: int = 1,
    threads: int | None = None,
    runs: int = 15,
    limit_s: float = 5.0,
) -> Latency:
    """Inference times of `spec` with random weights and images, float32 on the CPU.

    Time depends on shapes, not on values, so no trained weights are needed.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    network = fold_batch_norms(build(spec, seed=0).eval())
    images = torch.randn(
        batch_size, spec.input_channels, *spec.resolution, generator=torch.Generator().manual_seed(0)
    ).contiguous(memory_format=network.memory_format)
    with torch_threads(threads), torch.inference_mode():
        return time_calls(lambda: network(images), runs=runs, limit_s=limit_s)
