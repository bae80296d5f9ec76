"""What the controller of the architecture search learns, beside evolution and random search, without any training.

    python benchmarks/search_controller.py [--samples 500] [--generation 20] [--seeds 5] [--variants late] [--json]

Every strategy proposes the same number of networks around a small EfficientNet-B0, towards the baseline's own
multiply-adds. Accuracy is made up: `exact_score` works it out from the spec alone. What is printed is the best reward
of a search, and the mean reward of its last generation, both without noise; averages over seeds.
"""

import argparse
import json
import math
import statistics
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec, Operator, Skip, Stage, square
from triscale.arch.zoo import get_network
from triscale.search.baseline.controller import ControllerPlanner
from triscale.search.baseline.encoding import from_params, to_spec
from triscale.search.baseline.evolution import EvolutionPlanner
from triscale.search.baseline.planning import BaselinePlanner
from triscale.search.baseline.random_search import RandomPlanner
from triscale.search.baseline.reward import Objective, macs
from triscale.search.baseline.space import SearchSpace
from triscale.search.planner import Pause, State, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One made-up world."""

    se_gain: float
    """What squeeze-and-excitation adds to a stage in the right place, with an expansion of 6."""
    kernel_gain: float
    """What a kernel of 5 adds there."""
    place: float
    """Where that is: 0 is the first searched stage, 1 the last."""
    step: float
    """The best ratio of a stage's channels to those of the stage before, as a logarithm to base 2."""
    noise: float = 0.0
    """Standard deviation of what a training's seed adds to the score."""


VARIANTS = {
    "late": Variant(se_gain=0.3, kernel_gain=0.25, place=1.0, step=0.6),
    "early": Variant(se_gain=0.15, kernel_gain=0.4, place=0.2, step=0.9),
    "noisy": Variant(se_gain=0.4, kernel_gain=0.1, place=0.6, step=0.4, noise=0.005),
}

STRENGTHS = {Operator.CONV: 1.0, Operator.DEPTHWISE_SEPARABLE: 0.6, Operator.MBCONV: 0.5}
"""Of one layer; MBConv's grows with its expansion."""


def exact_score(spec: NetworkSpec, variant: Variant) -> float:
    """A stand-in for accuracy, in 0..1, that is smooth in channels and layers and no sum over decisions.

    A stage is worth 1 - exp(-strength * layers^0.7 * log2(channels)), so that more of anything helps less and less.
    Squeeze-and-excitation multiplies its strength in proportion to the expansion, a kernel of 5 according to the
    stage's place. The network is worth the geometric mean of its stages, so that the weakest counts most, less what
    deep stages without skips lose, more in deeper networks, and less what uneven steps in channels lose.
    """
    rows = spec.stages[1:-1]
    depth = sum(row.layers for row in rows)
    logarithm = penalty = 0.0
    for index, row in enumerate(rows):
        near = 1 - abs(index / (len(rows) - 1) - variant.place)
        rate = _strength(row, near, variant) * row.layers**0.7 * math.log2(row.channels)
        logarithm += math.log(1 - math.exp(-rate / 8)) / len(rows)
        if row.layers > 1 and row.skip is Skip.NONE:
            penalty += 0.0008 * (row.layers - 1) * depth / len(rows)
        if index:
            penalty += 0.01 * (math.log2(row.channels / rows[index - 1].channels) - variant.step) ** 2
    return max(0.0, math.exp(logarithm) - penalty)


def _strength(row: Stage, near: float, variant: Variant) -> float:
    strength = STRENGTHS[row.operator]
    if row.operator is Operator.MBCONV:
        strength *= 1 + math.log2(row.expansion) / 2
    if row.se_ratio:
        strength *= 1 + variant.se_gain * near * row.expansion / 6
    return strength * (1 + variant.kernel_gain * (2 * near - 1)) if row.kernel > 3 else strength


def noise(spec: NetworkSpec, seed: int) -> float:
    """A number that looks drawn from the standard normal distribution, and is the same for the same network."""
    share = (zlib.crc32(f"{seed} {spec.stages}".encode()) + 0.5) / 2**32
    return statistics.NormalDist().inv_cdf(share)


def small_baseline() -> NetworkSpec:
    """EfficientNet-B0 at half its depth and width, for images of 28 pixels: 7 stages, 10^14 networks."""
    spec = scale(get_network("efficientnet-b0"), Coefficients(depth=0.5, width=0.5), name="small")
    first = replace(spec.stages[0], stride=1)
    return replace(spec, resolution=square(28), stages=(first, *spec.stages[1:]), classes=10)


STRATEGIES: dict[str, Callable[..., BaselinePlanner]] = {
    planner.strategy: planner for planner in (ControllerPlanner, EvolutionPlanner, RandomPlanner)
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one search came to; rewards without noise."""

    best: float
    """Of the network that had the best reward, noise included."""
    last: float
    """The mean of the last generation."""


def search(planner: BaselinePlanner, variant: Variant) -> Outcome:
    """One search, its trials one after another."""
    past: list[Trial] = []
    exact: list[float] = []
    while not isinstance(params := planner.propose(past), Pause):
        spec = to_spec(planner.space, from_params(planner.space, params))
        score = exact_score(spec, variant)
        exact.append(planner.objective.reward(score, spec))
        noisy = score + (variant.noise * noise(spec, planner.seed) if variant.noise else 0.0)
        value = planner.objective.reward(noisy, spec)
        past.append(Trial(number=len(past), params=params, state=State.DONE, value=value))
    values = [trial.value or 0.0 for trial in past]
    return Outcome(exact[values.index(max(values))], statistics.fmean(exact[-planner.generation :]))


def main() -> None:
    """Compare the strategies and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--generation", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    space = SearchSpace.around(small_baseline())
    objective = Objective(target=macs(space.base))
    rows = []
    for name in options.variants:
        found: dict[str, list[Outcome]] = {}
        for strategy, planner in STRATEGIES.items():
            began_s = time.process_time()
            found[strategy] = [
                search(
                    planner(
                        space=space,
                        objective=objective,
                        samples=options.samples,
                        generation=options.generation,
                        seed=seed,
                    ),
                    VARIANTS[name],
                )
                for seed in range(options.seeds)
            ]
            seconds = (time.process_time() - began_s) / options.seeds
            rows.append({"variant": name, "strategy": strategy, "seconds": seconds, "found": found[strategy]})
        for row in rows[-len(STRATEGIES) :]:
            pairs = zip(row["found"], found["random"], strict=True)
            row["wins"] = sum(own.best > random.best for own, random in pairs)
    if options.json:
        json.dump([{**row, "found": [asdict(outcome) for outcome in row["found"]]} for row in rows], sys.stdout)
        return
    print(
        f"{space.size:.2g} networks; {options.samples} samples, {options.seeds} seeds, generations of "
        f"{options.generation}"
    )
    print(f"{'variant':8} {'strategy':11} {'best':>7} {'last':>7}  {'over random':12} {'seconds':>7}")
    for row in rows:
        best, last = (statistics.fmean(getattr(found, what) for found in row["found"]) for what in ("best", "last"))
        wins = "" if row["strategy"] == "random" else f"{row['wins']} of {options.seeds}"
        print(f"{row['variant']:8} {row['strategy']:11} {best:7.4f} {last:7.4f}  {wins:12} {row['seconds']:7.1f}")


if __name__ == "__main__":
    main()
