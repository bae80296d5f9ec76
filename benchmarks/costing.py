"""How many networks a second can be costed: Triscale beside torch's FLOP counter and fvcore, on the same networks.

    python benchmarks/costing.py [--networks 20000] [--peer-networks 10] [--json]

The networks are drawn from a space like MnasNet's, all different and each at its own resolution. Triscale costs them
in one stream that starts with empty caches, then once more with the caches emptied before every network, which is
what a network pays that shares no layer with any before it. A peer costs a module, so its time is shown with and
without building one: on the meta device for torch's counter, with memory for fvcore, whose tracing needs real tensors.
Every round runs all of them, one after the other; all counts are compared. Times are of the processor, so that other
programs on the machine do not count.
"""

import argparse
import gc
import json
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from triscale.arch.lowering import _lower
from triscale.arch.rows import mbconv
from triscale.arch.spec import NetworkSpec, Resolution, Stage
from triscale.arch.zoo.efficientnet import EFFICIENTNET_B0
from triscale.cost import network_cost
from triscale.cost.network_cost import _block_rates
from triscale.models.network import assemble


def random_stage(stage: Stage, generator: random.Random) -> Stage:
    """A row of B0 with MnasNet's choices made anew, and finer channel counts than MnasNet's three."""
    return mbconv(
        generator.choice((3, 5)),
        stage.stride,
        1 if stage.expansion == 1 else generator.choice((3, 4, 6)),
        max(8, round(stage.channels * generator.uniform(0.7, 1.3) / 8) * 8),
        max(1, stage.layers + generator.choice((-1, 0, 1))),
        se_ratio=generator.choice((0.0, 0.25)),
    )


def random_networks(count: int, *, seed: int) -> list[NetworkSpec]:
    """`count` networks about as large as B0, no two alike."""
    generator = random.Random(seed)
    networks: dict[NetworkSpec, None] = {}
    while len(networks) < count:
        stem, *stages, head = EFFICIENTNET_B0.stages
        rows = (stem, *(random_stage(stage, generator) for stage in stages), head)
        resolution = Resolution(generator.randint(160, 320), generator.randint(160, 320))
        networks[replace(EFFICIENTNET_B0, stages=rows, resolution=resolution)] = None
    return list(networks)


def clear_caches() -> None:
    """As a new process would find them."""
    _lower.cache_clear()
    _block_rates.cache_clear()


def network_and_image(spec: NetworkSpec, device: str) -> tuple[nn.Module, torch.Tensor]:
    """The module of `spec`, its weights not even initialised, and one image."""
    network = assemble(spec, device=torch.device(device)).eval()
    return network, torch.empty(1, spec.input_channels, *spec.resolution, device=device)


def flop_counter_macs(network: nn.Module, images: torch.Tensor) -> int:
    """Multiply-adds by torch's FLOP counter, which counts two operations each."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() // 2


def fvcore_macs(network: nn.Module, images: torch.Tensor) -> int:
    """Multiply-adds by fvcore, without the batch norms and means it also counts."""
    from fvcore.nn import FlopCountAnalysis

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(network, images).unsupported_ops_warnings(False)
        analysis.uncalled_modules_warnings(False).tracer_warnings("none")
        by_operator = analysis.by_operator()
    return round(by_operator["conv"] + by_operator["linear"])


@dataclass(frozen=True, slots=True)
class Peer:
    """Another library that counts a module's multiply-adds."""

    macs: Callable[[nn.Module, torch.Tensor], int]
    device: str


PEERS = {
    "torch.utils.flop_counter": Peer(flop_counter_macs, "meta"),
    "fvcore": Peer(fvcore_macs, "cpu"),
}


@dataclass(frozen=True, slots=True)
class Result:
    """Medians over the rounds."""

    networks_per_s: float
    networks_per_s_cold: float
    cache_hit_share: float
    """Of the lookups of a layer in the stream."""
    peers_per_s: dict[str, float]
    peers_without_building_per_s: dict[str, float]

    @property
    def ratios(self) -> dict[str, float]:
        """How many times faster the stream is than each peer, building included."""
        return {name: self.networks_per_s / rate for name, rate in self.peers_per_s.items()}


def time_stream(specs: Sequence[NetworkSpec], *, cold: bool) -> float:
    """Networks a second; `cold` empties the caches before each, outside the measured time."""
    elapsed_s = 0.0
    clear_caches()
    for spec in specs:
        if cold:
            clear_caches()
        started_s = time.process_time()
        network_cost(spec)
        elapsed_s += time.process_time() - started_s
    return len(specs) / elapsed_s


def time_peer(name: str, specs: Sequence[NetworkSpec]) -> tuple[float, float]:
    """Networks a second with and without building; raises where a count differs from ours."""
    building_s = counting_s = 0.0
    for spec in specs:
        started_s = time.process_time()
        network, images = network_and_image(spec, PEERS[name].device)
        built_s = time.process_time()
        macs = PEERS[name].macs(network, images)
        counting_s += time.process_time() - built_s
        building_s += built_s - started_s
        if macs != network_cost(spec).macs:
            raise SystemExit(f"{name} counts {macs} multiply-adds, Triscale {network_cost(spec).macs}: {spec}")
    return len(specs) / (building_s + counting_s), len(specs) / counting_s


def measure(*, networks: int, peer_networks: int, rounds: int, seed: int) -> Result:
    """All contestants in turn, `rounds` times."""
    specs = random_networks(networks, seed=seed)
    gc.collect()
    gc.freeze()  # or the collector walks all of torch whenever the caches have grown
    streams: list[float] = []
    colds: list[float] = []
    peers: dict[str, list[tuple[float, float]]] = {name: [] for name in PEERS}
    hit_share = 0.0
    for number in range(rounds):
        streams.append(time_stream(specs, cold=False))
        info = _block_rates.cache_info()
        hit_share = info.hits / (info.hits + info.misses)
        colds.append(time_stream(specs[: len(specs) // 10], cold=True))
        share = specs[number * peer_networks : (number + 1) * peer_networks]
        for name, rates in peers.items():
            rates.append(time_peer(name, share))
    return Result(
        networks_per_s=statistics.median(streams),
        networks_per_s_cold=statistics.median(colds),
        cache_hit_share=hit_share,
        peers_per_s={name: statistics.median(rate for rate, _ in rates) for name, rates in peers.items()},
        peers_without_building_per_s={
            name: statistics.median(rate for _, rate in rates) for name, rates in peers.items()
        },
    )


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=20_000)
    parser.add_argument("--peer-networks", type=int, default=4, help="networks per round for each peer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    torch.set_num_threads(1)
    result = measure(**options)
    if as_json:
        print(json.dumps({**asdict(result), "ratios": result.ratios, **options}))
        return
    print(f"{options['networks']} different networks, one core, median of {options['rounds']} rounds\n")
    print(f"{'':36}{'networks/s':>12}{'Triscale is':>16}")
    print(f"{'triscale.cost':36}{result.networks_per_s:12,.0f}")
    print(f"{'triscale.cost, caches emptied':36}{result.networks_per_s_cold:12,.0f}")
    for name, rate in result.peers_per_s.items():
        print(f"{name:36}{rate:12,.1f}{result.ratios[name]:9,.0f}x faster")
        counting = result.peers_without_building_per_s[name]
        print(f"{'  without building the module':36}{counting:12,.1f}{result.networks_per_s / counting:9,.0f}x faster")
    print(f"\n{result.cache_hit_share:.1%} of the stream's layers were in the cache; all counts agree.")


if __name__ == "__main__":
    sys.exit(main())
