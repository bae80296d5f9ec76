"""Latency of networks that were never run: each kind of work has its price, found from a few networks that were."""

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from triscale.arch import Coefficients, NetworkSpec, get_network, scale
from triscale.arch.spec import Activation
from triscale.deploy.engine.arena import BLOCK
from triscale.deploy.engine.steps import Kind, Step, steps_of
from triscale.deploy.speed import engine_latency
from triscale.storage import write_text

FORMAT, VERSION = "triscale-latency-table", 1
WORK: Final = (
    "multiply-adds of 1x1 convolutions",
    "multiply-adds of other dense convolutions",
    "multiply-adds of depthwise convolutions",
    "values written",
    "values through SiLU",
    "weights read",
    "steps",
)
"""What has a price. Output channels count in blocks of 16, as vectors take them."""
BASELINES: Final = (
    "efficientnet-b0",
    "efficientnet-lite0",
    "mobilenetv2",
    "mnasnet-a1",
    "mobilenetv1",
    "efficientnetv2-b0",
    "efficientnet-edgetpu-s",
    "resnet18",
)
SIZES: Final = (
    Coefficients(),
    Coefficients(depth=0.5, width=0.6, resolution=0.7),
    Coefficients(depth=1.3, width=1.2, resolution=1.25),
)
"""Depth, width and resolution at which each baseline is measured."""
_SWEEPS: Final = 2000

Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Row:
    """A network that was measured."""

    name: str
    family: str
    measured_ms: float
    """The fastest of several times."""
    held_out_ms: float
    """As predicted from the networks of other families."""

    @property
    def error(self) -> float:
        """Of the prediction, relative."""
        return self.held_out_ms / self.measured_ms - 1


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """What each kind of `WORK` costs in one engine on one machine."""

    engine: str
    threads: int
    machine: str
    prices: tuple[float, ...]
    """Milliseconds each."""
    rows: tuple[Row, ...]

    @property
    def mean_error(self) -> float:
        """Of predictions of families held out, the mean of absolute values."""
        return float(np.mean([abs(row.error) for row in self.rows]))

    @property
    def worst(self) -> Row:
        """The row with the largest error."""
        return max(self.rows, key=lambda row: abs(row.error))

    def predict(self, spec: NetworkSpec) -> float:
        """Milliseconds for one image of the spec's resolution."""
        return float(work_of(spec) @ np.array(self.prices))


def _work(step: Step) -> npt.NDArray[np.float64]:
    pixels = step.out_shape.height * step.out_shape.width
    in_pixels = step.in_shape.height * step.in_shape.width
    inputs, outputs = step.in_shape.channels, step.out_shape.channels
    blocks = -(-outputs // BLOCK) * BLOCK
    pointwise = dense = depthwise = written = silu = weights = 0
    match step.kind:
        case Kind.STEM | Kind.CONV:
            macs = pixels * step.kernel**2 * inputs * blocks
            pointwise, dense = (macs, 0) if step.kernel == 1 else (0, macs)
            written, weights = pixels * outputs, step.kernel**2 * inputs * outputs
            silu = written if step.activation is Activation.SILU else 0
        case Kind.DEPTHWISE | Kind.EXPAND_DEPTHWISE:
            depthwise, written = pixels * step.kernel**2 * blocks, pixels * outputs
            silu = written if step.after is Activation.SILU else 0
            if step.kind is Kind.EXPAND_DEPTHWISE:
                wide = in_pixels * outputs
                pointwise, weights = in_pixels * inputs * blocks, inputs * outputs
                written += wide
                silu += wide if step.activation is Activation.SILU else 0
        case Kind.EXCITE:
            weights = 2 * inputs * step.squeezed_channels
        case Kind.LINEAR:
            weights = inputs * outputs
        case Kind.MAX_POOL:
            written = pixels * outputs * step.kernel**2
    return np.array([pointwise, dense, depthwise, written, silu, weights, 1], np.float64)


def work_of(spec: NetworkSpec) -> npt.NDArray[np.float64]:
    """How much of each kind of `WORK` one image takes."""
    total: npt.NDArray[np.float64] = np.sum([_work(step) for step in steps_of(spec)], axis=0)
    return total


def fit_prices(work: npt.NDArray[np.float64], measured_ms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Prices, none negative, with the least squares of relative errors, for (networks, kinds) of work.

    Solved one price after another, again and again, as each has its best value given the others.
    """
    rows = work / measured_ms[:, None]
    sizes = rows.max(axis=0)
    rows = rows / np.where(sizes > 0, sizes, 1)
    gram, aim = rows.T @ rows, rows.sum(axis=0)
    prices = np.zeros(rows.shape[1])
    used = [kind for kind in range(len(prices)) if gram[kind, kind] > 0]
    for _ in range(_SWEEPS):
        for kind in used:
            prices[kind] = max(0.0, prices[kind] + (aim[kind] - gram[kind] @ prices) / gram[kind, kind])
    return prices / np.where(sizes > 0, sizes, 1)


def measured_networks() -> tuple[tuple[str, NetworkSpec], ...]:
    """Family and spec of what a table is made from."""
    return tuple(
        (name, scale(get_network(name), size, name=f"{name}-r{size.resolution:g}"))
        for name in BASELINES
        for size in SIZES
    )


def measure_table(
    engine: str,
    *,
    threads: int = 1,
    networks: Sequence[tuple[str, NetworkSpec]] | None = None,
    tell: Tell = lambda *_: None,
) -> LatencyTable:
    """Run `networks` (families and specs; `measured_networks` by default) in `engine` and find the prices.

    Takes about a second a network. Each row's prediction comes from the other families alone.
    """
    chosen = measured_networks() if networks is None else networks
    times: list[float] = []
    for number, (_, spec) in enumerate(chosen):
        tell("measuring networks once for a latency table", number, len(chosen))
        times.append(engine_latency(spec, engine=engine, threads=threads, limit_s=0.8).fastest_ms)
    tell("measuring networks once for a latency table", len(chosen), len(chosen))
    work, measured = np.stack([work_of(spec) for _, spec in chosen]), np.array(times)
    families = np.array([family for family, _ in chosen])
    rows = []
    for number, (family, spec) in enumerate(chosen):
        others = families != family
        prices = fit_prices(work[others], measured[others])
        rows.append(Row(spec.name, family, times[number], float(work[number] @ prices)))
    return LatencyTable(engine, threads, this_machine(), tuple(fit_prices(work, measured).tolist()), tuple(rows))


def this_machine() -> str:
    """What a table holds for: the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
        return f"{model}, {'avx512' if 'avx512f' in flags else 'avx2' if 'avx2' in flags else 'no avx2'}"
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write_table(table: LatencyTable, path: Path) -> None:
    """Write `table` as JSON, whole or not at all."""
    content = {"format": FORMAT, "version": VERSION, "work": list(WORK), **asdict(table)}
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_table(path: Path, *, engine: str, threads: int) -> LatencyTable | None:
    """The table at `path`; None where there is none, or one of another engine, machine or version, or a damaged one."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        table = LatencyTable(
            str(content["engine"]),
            int(content["threads"]),
            str(content["machine"]),
            tuple(float(price) for price in content["prices"]),
            tuple(Row(**row) for row in content["rows"]),
        )
        known = (content["format"], content["version"], tuple(content["work"])) == (FORMAT, VERSION, WORK)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    fits = (table.engine, table.threads, table.machine) == (engine, threads, this_machine())
    return table if known and fits and len(table.prices) == len(WORK) and table.rows else None
