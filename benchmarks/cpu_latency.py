"""Our engine beside ONNX Runtime, OpenVINO and torch on the CPU, in one process, all in turns.

    python -m benchmarks.cpu_latency [--networks efficientnet-b0,resnet50] [--engines native,openvino] [--json]
    python -m benchmarks.cpu_latency --networks efficientnet-b4 --threads 2 --engines native
    python -m benchmarks.cpu_latency --networks efficientnet-b0 --profile

Every round times each engine once, on the same random image of bytes, so that a machine whose speed drifts treats all
alike; weights are random, since time does not depend on them. Ratios are of the fastest times: the better of ONNX
Runtime and OpenVINO over ours. `--profile` prints what each step of ours takes, and each operator of OpenVINO.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from triscale.arch import get_network
from triscale.cost import network_cost
from triscale.deploy.engine.native import NativeEngine, native_engine
from triscale.deploy.engines import compile
from triscale.deploy.export.formats import FORMATS
from triscale.deploy.export.source import Source
from triscale.deploy.export.timing import time_in_turns
from triscale.deploy.latency import Latency
from triscale.deploy.runtimes.openvino_runtime import operator_times
from triscale.deploy.speed import random_model

NETWORKS = (
    "efficientnet-b0",
    "efficientnet-b1",
    "efficientnet-b4",
    "efficientnet-b7",
    "efficientnet-lite0",
    "mobilenetv2",
    "resnet50",
)
PEERS = ("onnxruntime", "openvino")


def measure(
    name: str, engines: tuple[str, ...], *, threads: int, batch: int, rounds: int, limit_s: float
) -> dict[str, Latency]:
    """Times of each engine."""
    model = random_model(get_network(name))
    height, width = model.card.preprocessing.resolution
    images = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    runs = {engine: compile(model, engine=engine, threads=threads) for engine in engines}
    calls: dict[str, Callable[[], object]] = {engine: lambda run=run: run(images) for engine, run in runs.items()}
    return time_in_turns(calls, turns=rounds, limit_s=limit_s)


def row(name: str, times: dict[str, Latency], *, batch: int) -> dict[str, Any]:
    """What is printed of a network."""
    found: dict[str, Any] = {"network": name, "batch": batch, "gmacs": network_cost(get_network(name)).macs / 1e9}
    found["engines"] = {
        engine: {"min_ms": each.fastest_ms, "median_ms": each.median_ms, "rounds": len(each.times_ms)}
        for engine, each in times.items()
    }
    peers = [times[engine] for engine in PEERS if engine in times]
    if "native" in times and peers:
        best_min, best_median = min(each.fastest_ms for each in peers), min(each.median_ms for each in peers)
        found["times_as_fast_min"] = best_min / times["native"].fastest_ms
        found["times_as_fast_median"] = best_median / times["native"].median_ms
    return found


def profile(name: str, *, threads: int) -> None:
    """Print what takes how long, in our engine by kind of step and in OpenVINO by kind of operator."""
    model = random_model(get_network(name))
    engine: NativeEngine = native_engine(model, threads=threads)
    height, width = model.card.preprocessing.resolution
    images = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    steps = engine.profile(images, runs=20)
    print(f"\n{name}, ours, ms a step ({sum(step.milliseconds for step in steps):.2f} in all)")
    for step in steps:
        print(f"  {step.milliseconds:8.3f}  {step.name}")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        FORMATS["openvino"].write(Source(model, 1), path)
        kinds: dict[str, float] = defaultdict(float)
        for _, kind, milliseconds in operator_times(path, images, threads=threads):
            kinds[kind] += milliseconds
    print(f"{name}, OpenVINO, ms by kind of operator ({sum(kinds.values()):.2f} in all)")
    for kind, milliseconds in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"  {milliseconds:8.3f}  {kind}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="of the zoo, separated by commas")
    parser.add_argument("--engines", default=",".join(("native", *PEERS)), help="separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0, help="no round of a network begins later")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.networks.split(","):
        if options.profile:
            profile(name, threads=options.threads)
            continue
        times = measure(
            name,
            tuple(options.engines.split(",")),
            threads=options.threads,
            batch=options.batch,
            rounds=options.rounds,
            limit_s=options.seconds,
        )
        rows.append(row(name, times, batch=options.batch))
        if not options.json:
            engines = "  ".join(
                f"{engine} {each['min_ms']:.2f} / {each['median_ms']:.2f}"
                for engine, each in rows[-1]["engines"].items()
            )
            ratio = rows[-1].get("times_as_fast_min")
            print(f"{name:20} ms, min / median: {engines}" + (f"  ratio {ratio:.2f}" if ratio else ""), flush=True)
    if options.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
