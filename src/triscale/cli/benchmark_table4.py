"""`triscale benchmark table4`: the paper's latencies beside this machine's."""

from dataclasses import asdict, dataclass
from typing import Any

from triscale.arch import get_network
from triscale.cli.options import json_option, option
from triscale.cli.output import print_json, print_paragraph, print_table, table
from triscale.cli.progress import bars

EXAMPLE = """triscale benchmark table4
triscale benchmark table4 --engine onnxruntime --json"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Measure Table 4 of the paper anew: batch 1, one pinned core, the mean of 20 runs.

    Both networks of a pair run in the same engine; the paper's ran in TensorFlow on an Intel Xeon E5-2690.
    """

    engine: str = option(
        "native, eager, channels-last, compiled, onnxruntime or openvino", metavar="E", default="native"
    )
    json: bool = json_option()


def run(options: Options) -> None:
    """Measure and print."""
    from triscale.deploy.speed import measure_speed
    from triscale.deploy.table4 import TABLE4

    names = [name for pair in TABLE4 for name in (pair.larger, pair.smaller)]
    with bars({}) as tell:
        speeds = measure_speed([get_network(name) for name in names], (options.engine,), rounds=5, tell=tell)
    measured = {speed.network: (speed.paper_mean_ms or 0.0) / 1e3 for speed in speeds}
    rows: list[dict[str, Any]] = []
    made = table("network", "top-1 published", "seconds published", "seconds measured")
    for pair in TABLE4:
        speedup = measured[pair.larger] / measured[pair.smaller]
        rows.append({**asdict(pair), "measured_seconds": [measured[pair.larger], measured[pair.smaller]]})
        rows[-1] |= {"engine": options.engine, "speedup_published": pair.speedup, "speedup_measured": speedup}
        for name, top1, seconds in (
            (pair.larger, pair.larger_top1, pair.larger_seconds),
            (pair.smaller, pair.smaller_top1, pair.smaller_seconds),
        ):
            made.add_row(name, f"{top1:.1f}%", f"{seconds:.3f}", f"{measured[name]:.4f}")
        made.add_row("speedup", "", f"{pair.speedup:.1f}x", f"{speedup:.1f}x")
    if options.json:
        print_json(rows)
        return
    print_table(made)
    print()
    print_paragraph(f"Measured in the {options.engine} engine: batch 1, one pinned core, the mean of 20 runs.")
