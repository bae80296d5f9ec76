"""The pieces of the demo: networks at equal cost, two of the paper's latencies, and photographs explained."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from triscale.arch import NetworkSpec, get_network
from triscale.cost import inference_memory, network_cost
from triscale.deploy.latency import measure_latency
from triscale.explain.explanation import Explanation, explain_images
from triscale.models.weights import load
from triscale.scaling import Budget, Dimension, Solution, solve

MODELS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
"""Networks whose ImageNet weights come with installed packages."""

PHOTOGRAPHS = (
    ("skimage", "data/coffee.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/chelsea.png"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/astronaut.png"),
)
"""Package and file of each photograph."""

WAYS: tuple[tuple[str, Dimension | None], ...] = (
    ("efficientnet-b0", None),
    ("efficientnet-b0", Dimension.DEPTH),
    ("efficientnet-b0", Dimension.WIDTH),
    ("efficientnet-b0", Dimension.RESOLUTION),
    ("mobilenetv2", None),
    ("mobilenetv1", None),
    ("resnet18", None),
)
"""Baselines, each with the one dimension that grows, or None for compound scaling."""


TABLE_4 = {"resnet152": 0.554, "efficientnet-b1": 0.098}
"""Seconds an image on one core of an Intel Xeon, as the paper's Table 4 has them: batch 1, the mean of 20 runs."""
TABLE_4_RUNS = 20


@dataclass(frozen=True, slots=True)
class Contender:
    """A baseline brought to the budget, and what it costs there."""

    way: str
    """The baseline and what of it was scaled."""
    spec: NetworkSpec
    params: int
    macs: int
    memory_bytes: int
    latency_ms: float


def contenders(
    macs: float, latency_ms: Callable[[NetworkSpec], float], *, ways: Iterable[tuple[str, Dimension | None]] = WAYS
) -> Iterator[Contender]:
    """Different networks at equal multiply-adds, each with its other costs (Figure 8 compares such networks)."""
    for name, only in ways:
        solution: Solution = solve(get_network(name), Budget(macs=macs), only=only)
        cost = network_cost(solution.spec)
        yield Contender(
            f"{name}, {only or 'compound'}",
            solution.spec,
            cost.params,
            cost.macs,
            inference_memory(solution.spec).total_bytes,
            latency_ms(solution.spec),
        )


def photographs() -> tuple[Path, ...]:
    """The demo's photographs, where the packages that hold them are installed.

    Raises ValueError with what to install where one is missing.
    """
    found = []
    for package, file in PHOTOGRAPHS:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ValueError("the demo's photographs come with scikit-image: pip install 'triscale[photos]'")
        found.append(Path(spec.submodule_search_locations[0]) / file)
    return tuple(found)


def explained() -> Iterator[Explanation]:
    """Each photograph with what `MODELS` say of it, and where they see it."""
    yield from explain_images({name: load(name) for name in MODELS}, photographs())


def table_4() -> Iterator[tuple[str, float]]:
    """The networks of `TABLE_4` with the mean time of an image on one core of this machine, in seconds."""
    for name in TABLE_4:
        found = measure_latency(get_network(name), threads=1, runs=TABLE_4_RUNS, limit_s=60.0)
        yield name, found.mean_ms / 1e3
