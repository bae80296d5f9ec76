"""`triscale scale`: the network at a phi, or the largest inside a budget."""

from dataclasses import dataclass
from pathlib import Path

from triscale.arch import NetworkSpec
from triscale.cli.network import NET_HELP, find_network, write_spec
from triscale.cli.options import json_option, option, positional
from triscale.cli.output import check_output, print_json
from triscale.cli.scale_report import FLAGS, at_phi, print_report, report_json, solved
from triscale.scaling import (
    EFFICIENTNET_SCALING,
    Budget,
    CompoundScaling,
    Dimension,
    Limit,
    Solution,
    Unit,
    parse_quantity,
    parse_scaling,
    read_scaling,
    solve,
)

EXAMPLE = """triscale scale efficientnet-b0 --macs 1.2G -o b0-1.2g.json
triscale scale efficientnet-b0 --latency 20ms --engine native --threads 1
triscale scale resnet50 --phi -1.5 --coefficients 1.2,1.1,1.15
triscale scale mobilenetv2 --macs 1G --only width --json"""


def _bytes(word: str) -> int:
    return parse_quantity(word, Unit.BYTES)


def _milliseconds(word: str) -> float:
    return parse_quantity(word, Unit.MILLISECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Scale a network in depth, width and resolution together.

    With --phi, to where the formula puts it. With any of --macs, --params, --memory and --latency, to the largest
    network that stays inside all of them: first the largest phi, then a search beside it for what rounding left
    unused. Costs are those of the rounded network.
    """

    network: str = positional("NET", NET_HELP)
    phi: float | None = option("compound coefficient, any real number", metavar="X")
    macs: int | None = option("multiply-adds for one image, such as 1.2G", metavar="N", parse=parse_quantity)
    params: int | None = option("parameters, such as 10M", metavar="N", parse=parse_quantity)
    memory: int | None = option("memory to infer one image, such as 60MiB", metavar="BYTES", parse=_bytes)
    latency: float | None = option(
        "time for one image on this machine, measured, such as 50ms", metavar="TIME", parse=_milliseconds
    )
    engine: str | None = option(
        "native, eager, channels-last, compiled, onnxruntime or openvino (the fastest here)",
        metavar="ENGINE",
    )
    threads: int | None = option("CPU threads while measuring (1)", metavar="N")
    coefficients: str | None = option("alpha,beta,gamma or a file of them (1.2,1.1,1.15)", metavar="A,B,G|FILE")
    only: Dimension | None = option("scale depth, width or resolution alone", metavar="DIM")
    output: Path | None = option("write the scaled spec to this file", metavar="FILE", short="-o")
    force: bool = option("overwrite the file", default=False)
    json: bool = json_option()


def read_coefficients(text: str) -> CompoundScaling:
    """Alpha, beta and gamma: three numbers, or the path of a JSON file that holds them."""
    path = Path(text)
    if path.suffix.lower() == ".json" or path.is_file():
        return read_scaling(path)
    return parse_scaling(text)


def _limits(options: Options) -> dict[Limit, float]:
    values = {limit: getattr(options, flag) for limit, flag in FLAGS.items()}
    return {limit: value for limit, value in values.items() if value is not None}


def check(options: Options) -> None:
    """Raise ValueError for options that contradict each other, before any work is done."""
    limits = _limits(options)
    flags = " ".join(f"--{FLAGS[limit]}" for limit in limits)
    if options.phi is None and not limits:
        raise ValueError("give --phi or a budget: any of --macs, --params, --memory and --latency")
    if options.phi is not None and limits:
        raise ValueError(f"--phi and a budget ({flags}) exclude each other; leave one out")
    if options.coefficients and options.only:
        raise ValueError("--coefficients and --only exclude each other; leave one out")
    for flag in ("threads", "engine"):
        if getattr(options, flag) is not None and options.latency is None:
            raise ValueError(f"--{flag} only matters with --latency; leave it out")
    if options.output is not None:
        if options.output.suffix.lower() != ".json":
            raise ValueError(f"cannot write {options.output}: a spec file's name must end in .json")
        check_output(options.output, force=options.force)


def _solve(baseline: NetworkSpec, options: Options, scaling: CompoundScaling | None) -> Solution:
    budget = Budget(**{limit.value: most for limit, most in _limits(options).items()})
    if options.latency is None:
        return solve(baseline, budget, scaling=scaling, only=options.only)
    from triscale.cli.latency_prices import latency_table
    from triscale.deploy.latency_budget import solve_checked

    table = latency_table(options.engine, threads=1 if options.threads is None else options.threads)
    return solve_checked(
        lambda latency_ms: solve(baseline, budget, scaling=scaling, only=options.only, latency_ms=latency_ms), table
    )


def run(options: Options) -> None:
    """Scale, write the spec where asked, and print what was done."""
    check(options)
    baseline = find_network(options.network)
    scaling = read_coefficients(options.coefficients) if options.coefficients else None
    if options.phi is None:
        report = solved(_solve(baseline, options, scaling))
    else:
        along = CompoundScaling.along(options.only) if options.only else scaling or EFFICIENTNET_SCALING
        report = at_phi(baseline, options.phi, along)
    if options.output is not None:
        write_spec(options.output, report.answer.spec)
    if options.json:
        print_json(report_json(report))
        return
    print_report(report)
    print()
    if options.output is None:
        print("Add -o FILE.json to keep the network as a spec file.")
    else:
        print(f"Wrote {options.output}. Look at it: triscale describe {options.output}")
