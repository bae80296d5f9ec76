"""What a network costs on this machine, beside others: the file that a run's page reads."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from triscale.arch.spec import NetworkSpec
from triscale.cost import inference_memory, network_cost
from triscale.deploy.latency import measure_latency
from triscale.storage import write_text

FORMAT, VERSION = "triscale-costs", 1
FILE: Final = "costs.json"
LARGEST_MACS: Final = 4_000_000_000
"""Slower alternatives are not measured: each image would take most of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCosts:
    """One network, for one image in float32."""

    name: str
    resolution: str
    params: int
    macs: int
    memory_bytes: int
    """Weights and the most that is alive at once, estimated."""
    latency_ms: float | None
    """The middle of several times; None where the time ran out before."""
    top1: float | None
    """On ImageNet, of the released weights."""
    score: float | None
    """Of a probe on a sample of the run's images, where the network was chosen by one."""
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A network whose costs are to be told, and what is known of it beside them."""

    name: str
    spec: NetworkSpec
    top1: float | None = None
    score: float | None = None


def measure_costs(networks: Sequence[Compared], *, threads: int = 1, limit_s: float = 6.0) -> tuple[NetworkCosts, ...]:
    """The costs of a run's own network, the first, and of others, by multiply-adds.

    Latency is measured on the CPU with `threads` threads, of the first network for at most half of `limit_s` seconds;
    the others share the rest, and those that it does not suffice for have none.
    """
    if limit_s <= 0:
        raise ValueError(f"limit_s must be positive, got {limit_s}")
    started_s = time.perf_counter()
    rows = []
    for number, each in enumerate(networks):
        cost = network_cost(each.spec)
        left_s = limit_s - (time.perf_counter() - started_s)
        share_s = left_s / 2 if number == 0 else left_s / (len(networks) - number)
        measured = number == 0 or (share_s > 0.05 and cost.macs <= LARGEST_MACS)
        rows.append(
            NetworkCosts(
                name=each.name,
                resolution=str(each.spec.resolution),
                params=cost.params,
                macs=cost.macs,
                memory_bytes=inference_memory(each.spec).total_bytes,
                latency_ms=_latency(each.spec, threads=threads, limit_s=share_s) if measured else None,
                top1=each.top1,
                score=each.score,
                chosen=number == 0,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.macs, row.name)))


def _latency(spec: NetworkSpec, *, threads: int, limit_s: float) -> float:
    # Building takes time too; half is left for it.
    return measure_latency(spec, threads=threads, runs=11, limit_s=max(0.05, limit_s / 2)).median_ms


def write_costs(rows: Sequence[NetworkCosts], path: Path, *, threads: int = 1) -> None:
    """Write costs.json, whole or not at all."""
    content = {"format": FORMAT, "version": VERSION, "threads": threads, "rows": [asdict(row) for row in rows]}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
