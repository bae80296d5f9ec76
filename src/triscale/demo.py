"""The pieces of the demo: networks at equal cost, and real photographs classified by released weights."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from triscale.arch import NetworkSpec, get_network
from triscale.cost import inference_memory, network_cost
from triscale.data.read import read_image
from triscale.deploy.predict import predict
from triscale.models.weights import load
from triscale.report.photographs import Answer, Photograph
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


def answers(model: str) -> list[Answer]:
    """What the released weights of that name say of each photograph."""
    said = []
    for prediction in predict(load(model), photographs(), top=1):
        if prediction.error is not None:
            raise ValueError(f"{prediction.path}: {prediction.error}")
        best = prediction.labels[0]
        said.append(Answer(model, best.name, best.probability))
    return said


def sheet(said: Iterable[Sequence[Answer]]) -> list[Photograph]:
    """Each photograph with one answer from each of `said`, which holds the `answers` of one model after another."""
    return [
        Photograph(path.name, read_image(path), by_model)
        for path, by_model in zip(photographs(), zip(*said, strict=True), strict=True)
    ]
