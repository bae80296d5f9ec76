"""Images a second in training, ours beside timm's, in one run.

    python -m benchmarks.train_throughput [--networks efficientnet-b0] [--batch 16 64] [--rounds 5] [--profile] [--json]
    python -m benchmarks.train_throughput --device cuda --networks efficientnet-b0 efficientnet-b4 efficientnet-b7

One step: forward pass, cross-entropy, backward pass, torch's RMSprop over all tensors at once. Every round takes one
step of each contender in turn, so that a machine whose speed drifts treats all alike; the first round warms up and is
not counted. Ratios are of the fastest step: timm's best time over ours. On a GPU all run in bfloat16 autocast.
`--profile` shows how a step of ours, with and without the fused kernels, and timm's divide.
"""

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from tests.peers import import_timm
from triscale.arch import get_network
from triscale.models.fused import why_not_fused
from triscale.models.network import build

OURS = "triscale"
CONTENDERS = (
    OURS,
    "triscale plain",
    "triscale compiled",
    "timm",
    "timm channels-last",
    "timm compiled",
)
PEERS = tuple(name for name in CONTENDERS if name.startswith("timm"))
KINDS = {
    "fused blocks": ("FusedMBConv", "FusedNormActivation"),
    "convolution": ("convolution", "conv2d", "::mm", "addmm"),
    "batch norm": ("batch_norm",),
    "activation": ("silu", "hardtanh", "relu", "sigmoid"),
    "optimizer": ("_foreach", "RMSprop", "addcmul", "addcdiv", "sqrt"),
    "scale, add, mean": ("::mul", "::add", "::sum", "::mean", "::div"),
    "copy, fill, pad": ("copy_", "fill_", "zero_", "pad", "clone"),
}
"""Names of operators, or parts of them, by kind; the first that matches counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison."""

    network: str
    batch_size: int
    resolution: int
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of a step."""

    fastest_s: float
    median_s: float


def model(name: str, case: Case) -> nn.Module:
    """A fresh network in training mode on the device."""
    torch.manual_seed(0)
    if name.startswith("triscale"):
        network: nn.Module = build(get_network(case.network), seed=0).set_fused(name == OURS)
    else:
        network = import_timm().create_model(case.network.replace("-", "_"), drop_path_rate=0.2)
        if name != "timm":
            network = network.to(memory_format=torch.channels_last)
    network = network.to(case.device).train()
    return torch.compile(network) if name.endswith("compiled") else network  # type: ignore[return-value]


def stepper(name: str, case: Case) -> Callable[[], None]:
    """A call that takes one training step and waits for it."""
    network = model(name, case)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-4, alpha=0.9, momentum=0.9, foreach=True)
    images = torch.randn(case.batch_size, 3, case.resolution, case.resolution, device=case.device)
    if name != "timm":
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (case.batch_size,), device=case.device)
    on_gpu = torch.device(case.device).type == "cuda"

    def step() -> None:
        with torch.autocast(torch.device(case.device).type, torch.bfloat16, enabled=on_gpu):
            loss: Tensor = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()

    return step


def measure(case: Case, names: Iterable[str], rounds: int) -> dict[str, Times]:
    """Times of each contender; one whose first step fails is left out with a line that says why."""
    steps: dict[str, Callable[[], None]] = {}
    for name in names:
        try:
            step = stepper(name, case)
            step()
        except Exception as error:
            print(f"{name} left out: {str(error).splitlines()[0]}")
            continue
        steps[name] = step
    seconds = defaultdict[str, list[float]](list)
    for _ in range(rounds):
        for name, step in steps.items():
            begin_s = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - begin_s)
    return {name: Times(min(values), statistics.median(values)) for name, values in seconds.items()}


def kind_of(operator: str) -> str:
    """Row of the division that an operator's own time belongs to."""
    for kind, parts in KINDS.items():
        if any(part in operator for part in parts):
            return kind
    return "other"


def division(step: Callable[[], None], device: str) -> dict[str, float]:
    """Shares of one step by kind of operator, the largest first."""
    step()
    on_gpu = torch.device(device).type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiler:
        step()
    totals = defaultdict[str, float](float)
    for event in profiler.key_averages():
        own: Any = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        totals[kind_of(event.key)] += own
    whole = sum(totals.values())
    return {kind: own / whole for kind, own in sorted(totals.items(), key=lambda item: -item[1])}


def print_table(case: Case, times: dict[str, Times]) -> None:
    """Images a second and ratios."""
    print(f"\n{case.network}, batch {case.batch_size}, {case.resolution} px, {case.device}, {case.threads} threads")
    print(f"  {'':20}{'images/s':>10}{'median':>10}{'step ms':>10}{'ours is':>10}")
    for name, taken in times.items():
        rates = case.batch_size / taken.fastest_s, case.batch_size / taken.median_s
        ratio = f"{taken.fastest_s / times[OURS].fastest_s:9.2f}x" if OURS in times else ""
        print(f"  {name:20}{rates[0]:10.1f}{rates[1]:10.1f}{1e3 * taken.fastest_s:10.1f}{ratio:>10}")
    peers = [taken for name, taken in times.items() if name in PEERS]
    if OURS in times and peers:
        fastest = min(peer.fastest_s for peer in peers) / times[OURS].fastest_s
        median = min(peer.median_s for peer in peers) / times[OURS].median_s
        print(f"  over timm's best: {fastest:.2f}x by the fastest step, {median:.2f}x by the median")


def run(case: Case, options: argparse.Namespace) -> None:
    """Measures one case and prints it."""
    times = measure(case, options.contenders, options.rounds)
    divisions = {}
    if options.profile:
        profiled = [name for name in (OURS, "triscale plain", "timm channels-last") if name in times]
        divisions = {name: division(stepper(name, case), case.device) for name in profiled}
    if options.json:
        results = {name: asdict(taken) for name, taken in times.items()}
        print(json.dumps({**asdict(case), "load": os.getloadavg(), "times": results, "division": divisions}))
        return
    print_table(case, times)
    for name, shares in divisions.items():
        print(f"  {name}: " + ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items() if share > 0.005))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["efficientnet-b0"], help="zoo names that timm also has")
    parser.add_argument("--batch", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--resolution", type=int, help="pixels a side; the network's own by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--profile", action="store_true", help="also say how a step divides")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if torch.device(options.device).type == "cpu" and (reason := why_not_fused()):
        print(f"triscale runs its plain modules: {reason}")
    for name in options.networks:
        resolution = options.resolution or get_network(name).resolution.height
        for batch_size in options.batch:
            case = Case(
                network=name,
                batch_size=batch_size,
                resolution=resolution,
                device=options.device,
                threads=options.threads,
            )
            run(case, options)


if __name__ == "__main__":
    main()
