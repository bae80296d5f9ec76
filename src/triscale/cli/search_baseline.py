"""`triscale search baseline`: the architecture search that found B0, for your images and your multiply-adds."""

import shlex
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from triscale.cli.leaving import signals_held, sigterm_ends
from triscale.cli.network import write_spec
from triscale.cli.options import option
from triscale.cli.search_options import SearchOptions, as_begun, study_folder
from triscale.scaling import Unit, parse_quantity

if TYPE_CHECKING:
    from pathlib import Path

    from triscale.arch import NetworkSpec
    from triscale.search.baseline.planning import BaselinePlanner
    from triscale.search.baseline.reward import Objective
    from triscale.search.baseline.summary import BaselineSummary, Finalist, HandMade
    from triscale.search.planner import Planner

EXAMPLE = """triscale search baseline --data digits --resolution 8 --samples 60
triscale search baseline --data photos/ --macs 400M --max-hours 100
triscale search baseline --data photos/ --latency 15ms --strategy evolution
triscale scale runs/photos-search-baseline/best-1.json --macs 1G"""

PROXY = 6
"""A short training is this part of a full one."""


class Strategy(StrEnum):
    """Who proposes networks."""

    CONTROLLER = "controller"
    """A recurrent policy that learns by PPO: the paper's."""
    EVOLUTION = "evolution"
    """Regularised evolution."""
    RANDOM = "random"


def parse_macs(word: str) -> float:
    """Such as 400M."""
    return parse_quantity(word, Unit.COUNT)


def parse_milliseconds(word: str) -> float:
    """Such as 20ms."""
    return parse_quantity(word, Unit.MILLISECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(SearchOptions):
    """Search a baseline for your images and a number of multiply-adds (section 4 of the paper).

    The space is MnasNet's, around NET's stages: for each one operator, kernel, squeeze-and-excitation, skip, channels
    and layers. Networks are trained for a few epochs and judged by images held out of the training images; what is
    maximised is accuracy x (macs / target)^-0.07. The best are then trained in full, beside NET itself, on all
    training images, judged by the validation images, and written as spec files that all other verbs take.

    So a network of half the cost may be 5% less accurate; with --hard the target is a limit, and nothing is gained
    below it. With --latency the cost is the time of one image on this machine, one CPU thread, measured for each.
    """

    macs: float | None = option("target (NET's own), such as 400M", metavar="N", parse=parse_macs)
    latency: str | None = option("a measured target instead, such as 20ms", metavar="T")
    exponent: float = option("of cost / target in the reward", metavar="X", default=-0.07)
    hard: bool = option("the target is a limit: exponent 0 below it, -1 above", default=False)
    strategy: Strategy = option("controller, evolution or random", metavar="S", default=Strategy.CONTROLLER)
    samples: int = option("networks to try", metavar="N", default=200)
    generation: int = option("networks between two looks at results", metavar="N", default=20)
    proxy_epochs: int | None = option("for each of them (a sixth of the recipe's)", metavar="N")
    top: int = option("how many are trained in full", metavar="N", default=3)
    seeds: int = option("full trainings of each", metavar="N", default=3)
    held_out: float = option("part of the training images that judges", metavar="X", default=0.2)
    seed: int = option("of what is proposed", metavar="N", default=0)


def run(options: Options) -> None:
    """Search, train the best in full, then draw and tell."""
    with sigterm_ends("search baseline"):
        with signals_held():
            import triscale.evaluators
            import triscale.search.record  # noqa: F401
        _run(options)


def _run(options: Options) -> None:
    from triscale.cli import search_study
    from triscale.search.baseline.finalists import finalists
    from triscale.search.baseline.summary import summary, top
    from triscale.search.job import Job
    from triscale.search.run import End

    verb, began_s = "search baseline", time.monotonic()
    folder = study_folder(options, verb)
    options = as_begun(options, folder)
    deadline_s = search_study.deadline_of(options)
    _check(options)
    baseline, evaluator = search_study.evaluator_of(options, held_out=options.held_out)
    planner = _planner(options, baseline, epochs=evaluator.recipe.epochs)
    if options.dry_run:
        _describe(options, planner)
        return
    with search_study.executor_of(options) as executor:
        search_study.begin_folder(folder)
        hand_made = [Job(network=baseline, seed=seed, epochs=evaluator.recipe.epochs) for seed in range(options.seeds)]
        searched = search_study.conduct(
            options,
            verb,
            planner,
            evaluator,
            folder=folder,
            executor=executor,
            deadline_s=deadline_s,
            # What is found has about as many multiply-adds.
            later=hand_made * (1 + options.top),
        )
        parts: list[tuple[Planner, search_study.Conducted]] = [(planner, searched)]
        best = top(planner, searched.trials, options.top) if searched.end is End.COMPLETE else ()
        if best:
            full = finalists(baseline, [planner.job(trial.params).network for trial in best], seeds=options.seeds)
            # The images that chose would flatter what they have chosen.
            unseen = replace(evaluator, data=replace(evaluator.data, held_out=None))
            trained = search_study.conduct(
                options,
                verb,
                full,
                unseen,
                folder=folder,
                part="-finalists",
                executor=executor,
                deadline_s=deadline_s,
            )
            parts.append((full, trained))
    found = summary(planner, searched.trials, best=best, finals=parts[-1][1].trials if best else ())
    for finalist in found.top:
        write_spec(folder / finalist.file, planner.job(searched.trials[finalist.number].params).network)
    paths = search_study.write_results(options, verb, folder, parts, found, baseline=baseline.name, kind="baseline")
    if options.json:
        print((folder / search_study.RESULTS_FILE).read_text(encoding="utf-8"), end="")
        return
    _tell(found, folder)
    search_study.tell_files(folder, paths, parts[-1][1], verb, began_s)


def _check(options: Options) -> None:
    for name in ("samples", "generation", "proxy_epochs", "top", "seeds"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if options.top > options.samples:
        raise ValueError(f"--top {options.top} is more than the {options.samples} networks of --samples; take fewer")


def _planner(options: Options, baseline: "NetworkSpec", *, epochs: int) -> "BaselinePlanner":
    from triscale.search.baseline.controller import ControllerPlanner
    from triscale.search.baseline.evolution import EvolutionPlanner
    from triscale.search.baseline.random_search import RandomPlanner
    from triscale.search.baseline.reward import check_target
    from triscale.search.baseline.space import SearchSpace

    space, objective = SearchSpace.around(baseline), _objective(options, baseline)
    check_target(space, objective)
    kinds: dict[Strategy, type[BaselinePlanner]] = {
        Strategy.CONTROLLER: ControllerPlanner,
        Strategy.EVOLUTION: EvolutionPlanner,
        Strategy.RANDOM: RandomPlanner,
    }
    return kinds[options.strategy](
        space=space,
        objective=objective,
        samples=options.samples,
        generation=options.generation,
        seed=options.seed,
        epochs=max(1, epochs // PROXY) if options.proxy_epochs is None else options.proxy_epochs,
    )


def _objective(options: Options, baseline: "NetworkSpec") -> "Objective":
    from triscale.cost import network_cost
    from triscale.search.baseline.reward import EXPONENT, HARD_EXPONENTS, CostKind, Objective

    exponent, below = options.exponent, None
    if options.hard:
        if exponent != EXPONENT:
            raise ValueError(f"--hard has exponents of its own; leave out --exponent {exponent:g}")
        below, exponent = HARD_EXPONENTS
    if options.latency is None:
        target = network_cost(baseline).macs if options.macs is None else options.macs
        return Objective(target=target, exponent=exponent, below=below)
    if options.macs is not None:
        raise ValueError("--macs and --latency are two targets; give one of them")
    target_ms = parse_milliseconds(options.latency)
    from triscale.deploy.latency import measure_latency
    from triscale.scaling.latency import Meter

    # Trainings run beside it: the fastest run is the least disturbed one.
    meter = Meter(lambda spec: measure_latency(spec, threads=1).fastest_ms)
    return Objective(target=target_ms, exponent=exponent, below=below, kind=CostKind.LATENCY, cost=meter)


def _describe(options: Options, planner: "BaselinePlanner") -> None:
    """What --dry-run shows."""
    from triscale.cli.output import print_pairs
    from triscale.search.baseline.reward import extreme, macs

    space, objective = planner.space, planner.objective
    power = f"{objective.exponent:g}" + (
        "" if objective.below is None else f", or ^{objective.below:g} below the target"
    )
    smallest, largest = (macs(extreme(space, best)) for best in (min, max))
    print_pairs(
        [
            ("baseline", f"{space.base.name}, {macs(space.base) / 1e6:.2f}M macs"),
            ("space", f"{float(space.size):.2g} networks of {smallest / 1e6:.2f}M to {largest / 1e6:.2f}M macs"),
            ("reward", f"accuracy x (cost / {objective.kind.quantity(objective.target)})^{power}"),
            ("strategy", f"{planner.strategy}, {planner.samples} networks, {planner.generation} at a time"),
            ("short trainings", f"{planner.samples} of {planner.epochs} epochs"),
            ("full trainings", f"{(options.top + 1) * options.seeds}: {options.top} found ones and the baseline"),
        ]
    )


def _tell(found: "BaselineSummary", folder: "Path") -> None:
    from triscale.cli.output import print_paragraph, print_table, table

    if not found.top:
        return
    rows = table("network", "file", "macs", "params", "top-1", "deviation", left=2)
    trained: list[tuple[str, str, Finalist | HandMade]] = [(f"trial {e.number}", e.file, e) for e in found.top]
    if found.hand_made is not None:
        trained.append((found.hand_made.name, "", found.hand_made))
    for name, file, each in trained:
        rows.add_row(
            name,
            file,
            f"{each.macs / 1e6:.2f}M",
            f"{each.params / 1e6:.3f}M",
            "" if each.mean is None else f"{each.mean:.2%}",
            "" if each.deviation is None else f"{each.deviation:.2%}",
        )
    print()
    print_table(rows)
    for verdict in found.verdicts:
        print()
        print_paragraph(verdict.text)
    print()
    # Not wrapped: a person copies it.
    print(f"triscale scale {shlex.quote(str(folder / found.top[0].file))} --macs BUDGET")
