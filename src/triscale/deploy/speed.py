"""How fast networks run in each engine on this machine, by the paper's protocol and a steadier one."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import quantiles
from typing import Final

import numpy as np

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import NetworkSpec
from triscale.cost import network_cost
from triscale.deploy.eager import Engine
from triscale.deploy.engine.extension import extension, why_unavailable
from triscale.deploy.engines import compile
from triscale.deploy.export.timing import time_in_turns
from triscale.deploy.latency import Latency, time_calls
from triscale.models.card import ModelCard
from triscale.models.files import Model
from triscale.models.network import build

PAPER_RUNS: Final = 20
"""Table 4: the mean of 20 runs, batch 1, one core."""
_PROBE_S: Final = 0.3

Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One network in one engine."""

    network: str
    resolution: str
    engine: str
    threads: int
    batch: int
    macs: int
    """Of one image."""
    min_ms: float
    quartiles_ms: tuple[float, float, float]
    """Of one batch; the second is the middle."""
    paper_mean_ms: float | None
    """Mean of 20 runs in a row on a pinned core; None but for one image on one thread."""
    images_per_s: float
    """By the middle time."""
    peak_share: float | None
    """Of the multiply-adds that registers alone allow, by the fastest time; None where that is not known."""


@contextmanager
def pinned_core() -> Iterator[None]:
    """Run on one core, the first that this process may use; elsewhere than on Linux, anywhere."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def peak_flops(threads: int = 1) -> float | None:
    """Operations a second of multiply-adds in registers alone, probed; None where our kernels were not compiled."""
    if why_unavailable() is not None:
        return None
    flops: float = extension().peak_flops(threads, _PROBE_S)
    return flops


def random_model(spec: NetworkSpec) -> Model:
    """`spec` with random weights: time does not depend on them."""
    channels = spec.input_channels
    card = ModelCard(Preprocessing(spec.resolution, mean=(0.5,) * channels, std=(0.25,) * channels))
    return Model(build(spec, seed=0).eval(), card)


def measure_speed(
    networks: Sequence[NetworkSpec],
    engines: Sequence[str],
    *,
    batches: Sequence[int] = (1,),
    threads: Sequence[int] = (1,),
    rounds: int = 25,
    limit_s: float = 10.0,
    tell: Tell = lambda *_: None,
) -> tuple[Speed, ...]:
    """Times of every network in every engine, at each batch size and number of threads.

    For each network all engines are timed in turns, `rounds` times after a warm-up, no turn later than `limit_s` after
    the first; for one image on one thread, also by the paper's protocol. Raises ValueError for an engine that does
    not exist or cannot be used, and for numbers below 1.
    """
    if not networks or not engines:
        raise ValueError("name at least one network and one engine")
    for what, values in (("batch size", batches), ("threads", threads), ("rounds", (rounds,))):
        if min(values, default=0) < 1:
            raise ValueError(f"{what} must be at least 1, got {min(values, default=0)}")
    peaks = {count: peak_flops(count) for count in dict.fromkeys(threads)}
    speeds: list[Speed] = []
    for number, spec in enumerate(networks):
        tell("measuring", number, len(networks))
        model = random_model(spec)
        for count in threads:
            runs = {name: compile(model, engine=name, threads=count) for name in engines}
            for batch in batches:
                speeds += _of_one(spec, runs, batch=batch, threads=count, rounds=rounds, limit_s=limit_s, peaks=peaks)
    tell("measuring", len(networks), len(networks))
    return tuple(speeds)


def _of_one(
    spec: NetworkSpec,
    runs: Mapping[str, Engine],
    *,
    batch: int,
    threads: int,
    rounds: int,
    limit_s: float,
    peaks: Mapping[int, float | None],
) -> Iterator[Speed]:
    shape = (batch, *spec.resolution, spec.input_channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    calls = {name: partial(run, images) for name, run in runs.items()}
    latencies = time_in_turns(calls, turns=rounds, limit_s=limit_s)
    macs, peak = network_cost(spec).macs, peaks[threads]
    for name, latency in latencies.items():
        paper = _paper_mean_ms(calls[name]) if batch == threads == 1 else None
        fastest_s = latency.fastest_ms / 1e3
        yield Speed(
            network=spec.name,
            resolution=str(spec.resolution),
            engine=name,
            threads=threads,
            batch=batch,
            macs=macs,
            min_ms=latency.fastest_ms,
            quartiles_ms=_quartiles(latency),
            paper_mean_ms=paper,
            images_per_s=1e3 * batch / latency.median_ms,
            peak_share=None if peak is None else 2 * macs * batch / fastest_s / peak,
        )


def _quartiles(latency: Latency) -> tuple[float, float, float]:
    if len(latency.times_ms) < 2:
        return (latency.median_ms,) * 3
    low, middle, high = quantiles(latency.times_ms, n=4, method="inclusive")
    return low, middle, high


def _paper_mean_ms(call: Callable[[], object]) -> float:
    with pinned_core():
        return time_calls(call, warm_up=3, runs=PAPER_RUNS, limit_s=60.0).mean_ms


def engine_latency(
    spec: NetworkSpec, *, engine: str, threads: int = 1, runs: int = 15, limit_s: float = 5.0
) -> Latency:
    """Times of one image of `spec`, with random weights, in `engine`."""
    run = compile(random_model(spec), engine=engine, threads=threads)
    image = np.zeros((1, *spec.resolution, spec.input_channels), np.uint8)
    return time_calls(lambda: run(image), runs=runs, limit_s=limit_s)
