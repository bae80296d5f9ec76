"""`triscale benchmark inference`: networks and engines beside each other on this machine's CPU."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from triscale.arch import NetworkSpec
from triscale.cli.network import find_network
from triscale.cli.options import json_option, option
from triscale.cli.output import print_json, print_paragraph, print_table, table
from triscale.cli.progress import bars

if TYPE_CHECKING:
    from triscale.deploy.speed import Speed

EXAMPLE = """triscale benchmark inference --networks efficientnet-b0 timm:resnet50
triscale benchmark inference --engines native --threads 1 2 --batches 1 8
triscale benchmark inference --chart speed.png --json"""
TIMM = "timm:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Time networks in every engine of this machine, all in turns.

    Engines are native (our own), eager, channels-last and compiled (torch), onnxruntime and openvino. Weights are
    random, images are bytes. Said are the fastest and middle times, images a second, the mean of 20 runs on a pinned
    core as in the paper's Table 4, and the share of the multiply-adds that the machine can do in registers alone.
    """

    networks: tuple[str, ...] = option(
        "zoo names, spec or model files, and names of timm's after `timm:`",
        metavar="NET",
        default=("efficientnet-b0", "efficientnet-lite0", "mobilenetv2", "resnet50"),
    )
    engines: tuple[str, ...] = option("which engines (all that are available)", metavar="ENGINE", default=())
    batches: tuple[int, ...] = option("images at a time, one or several numbers", metavar="N", default=(1,))
    threads: tuple[int, ...] = option("threads, one or several numbers", metavar="N", default=(1,))
    rounds: int = option("times each is timed", metavar="N", default=25)
    seconds: float = option("no turn of a network begins later", metavar="S", default=10.0)
    chart: Path | None = option("draw the times (.png, .svg, .pdf)", metavar="FILE")
    json: bool = json_option()


def network_of(name: str) -> NetworkSpec:
    """The spec of a name of the zoo or, after `timm:`, of timm's."""
    if not name.startswith(TIMM):
        return find_network(name)
    from triscale.models.weights.timm_networks import timm_spec

    return timm_spec(name.removeprefix(TIMM))


def print_speeds(speeds: Sequence["Speed"]) -> None:
    """A row for each network and engine."""
    made = table("network", "engine", "threads", "batch", "fastest", "middle", "paper's", "images/s", "of peak", left=2)
    before = ""
    for speed in speeds:
        made.add_row(
            speed.network if speed.network != before else "",
            speed.engine,
            str(speed.threads),
            str(speed.batch),
            f"{speed.min_ms:.2f} ms",
            f"{speed.quartiles_ms[1]:.2f} ms",
            "" if speed.paper_mean_ms is None else f"{speed.paper_mean_ms:.2f} ms",
            f"{speed.images_per_s:,.1f}",
            "" if speed.peak_share is None else f"{speed.peak_share:.0%}",
        )
        before = speed.network
    print_table(made)


def fastest_lines(speeds: Sequence["Speed"]) -> Iterator[str]:
    """Which engine is the fastest for each network, at the first batch size and number of threads."""
    for network in dict.fromkeys(speed.network for speed in speeds):
        rows = [speed for speed in speeds if speed.network == network]
        alike = [speed for speed in rows if (speed.threads, speed.batch) == (rows[0].threads, rows[0].batch)]
        if len(alike) > 1:
            best, second = sorted(alike, key=lambda speed: speed.min_ms)[:2]
            yield f"{network}: {best.engine}, {second.min_ms / best.min_ms:.2f} times as fast as {second.engine}."


def run(options: Options) -> None:
    """Measure, draw and print."""
    from triscale.deploy.engines import available_engines
    from triscale.deploy.speed import measure_speed

    if options.chart is not None:
        from triscale.report.speed import FORMATS

        if options.chart.suffix not in FORMATS:
            raise ValueError(f"a chart is a file {', '.join(FORMATS)}, not {options.chart.name}")
        if not options.chart.parent.is_dir():
            raise ValueError(f"cannot write {options.chart}: there is no folder {options.chart.parent}")
    names = [name for words in options.networks for name in words.split(",")]
    engines = [name for words in options.engines for name in words.split(",")]
    with bars({}) as tell:
        speeds = measure_speed(
            [network_of(name) for name in names],
            engines or available_engines(),
            batches=options.batches,
            threads=options.threads,
            rounds=options.rounds,
            limit_s=options.seconds,
            tell=tell,
        )
    if options.chart is not None:
        draw(speeds, options.chart)
    if options.json:
        print_json([asdict(speed) for speed in speeds])
        return
    print_speeds(speeds)
    print()
    for line in fastest_lines(speeds):
        print_paragraph(line)


def draw(speeds: Sequence["Speed"], path: Path) -> None:
    """The times at the first batch size and number of threads."""
    from triscale.report.speed import Bar, draw_speeds

    first = speeds[0]
    rows = [speed for speed in speeds if (speed.threads, speed.batch) == (first.threads, first.batch)]
    images = "one image" if first.batch == 1 else f"{first.batch} images"
    threads = "one thread" if first.threads == 1 else f"{first.threads} threads"
    draw_speeds(
        [
            Bar(each.network, each.engine, each.quartiles_ms[1], each.quartiles_ms[0], each.quartiles_ms[2])
            for each in rows
        ],
        path,
        title=f"{images[0].upper()}{images[1:]}, {threads}, float32",
    )
