"""Single-image latency of our eager path beside timm's networks, on one core, in one run.

    python -m benchmarks.inference [--networks efficientnet_b0,resnet50] [--rounds 10] [--json]

Every round times each contender once, in turn, so that a machine whose speed drifts treats all alike. Ratios are of
minima: timm's time over ours.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch

from tests.peers import import_timm
from triscale.models.fold import fold_batch_norms
from triscale.models.network import build
from triscale.models.weights.timm_networks import timm_spec

NETWORKS = ("efficientnet_b0", "efficientnet_lite0", "mobilenetv2_100", "resnet50")


def contenders(name: str) -> dict[str, Callable[[], object]]:
    """Calls on the same image, by label."""
    timm = import_timm()
    ours = fold_batch_norms(build(timm_spec(name), seed=0).eval())
    images = torch.randn(1, 3, *ours.spec.resolution)
    last = images.contiguous(memory_format=torch.channels_last)
    first = fold_batch_norms(build(timm_spec(name), seed=0).eval()).set_memory_format(torch.contiguous_format)
    peer_first = timm.create_model(name).eval()
    peer_last = timm.create_model(name).eval().to(memory_format=torch.channels_last)
    return {
        "triscale channels-last": lambda: ours(last),
        "triscale channels-first": lambda: first(images),
        "timm channels-last": lambda: peer_last(last),
        "timm channels-first": lambda: peer_first(images),
    }


def measure(name: str, rounds: int) -> dict[str, float]:
    """Fastest time of each contender, in milliseconds."""
    calls = contenders(name)
    fastest = dict.fromkeys(calls, float("inf"))
    with torch.inference_mode():
        for number in range(rounds + 1):
            for label, call in calls.items():
                begin_s = time.perf_counter()
                call()
                if number:
                    fastest[label] = min(fastest[label], 1e3 * (time.perf_counter() - begin_s))
    return fastest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="timm names, separated by commas")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {name: measure(name, options.rounds) for name in options.networks.split(",")}
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, times in results.items():
        ours = times["triscale channels-last"]
        print(name)
        for label, milliseconds in times.items():
            print(f"  {label:24} {milliseconds:8.2f} ms   {milliseconds / ours:5.2f}x ours")


if __name__ == "__main__":
    main()
