"""`triscale search coefficients`: alpha, beta and gamma for a baseline, found as the paper found them, or sooner."""

import shlex
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from triscale.cli.leaving import signals_held, sigterm_ends
from triscale.cli.options import option
from triscale.cli.search_options import SearchOptions, as_begun, study_folder

if TYPE_CHECKING:
    from triscale.search.coefficients import CoefficientPlanner, CoefficientsSummary

EXAMPLE = """triscale search coefficients --data photos/ --strategy guided -o runs/abg
triscale search coefficients --data fashion-mnist --step 0.1 --seeds 3
triscale scale NET --macs 1G --coefficients runs/abg/coefficients.json"""

COEFFICIENTS_FILE = "coefficients.json"


class Strategy(StrEnum):
    """Which trainings are made."""

    GRID = "grid"
    """All of them."""
    HALVING = "halving"
    """All for a few epochs, the best for more."""
    GUIDED = "guided"
    """Those that a fitted surface asks for."""


def parse_range(word: str) -> tuple[float, float]:
    """`1.0,1.5`: the lowest and the highest value."""
    try:
        low, high = (float(part) for part in word.split(","))
    except ValueError:
        raise ValueError(f"{word!r} is no range; write the lowest and the highest value such as 1.0,1.5") from None
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(SearchOptions):
    """Search alpha, beta and gamma on your baseline and images, with phi = 1 (section 4 of the paper, step 1).

    Candidates lie on a grid with alpha x beta^2 x gamma^2 within a tolerance of 2, each at least 1. Each becomes a
    network of exactly twice the baseline's multiply-adds, within 3%, so that rounding favours none; it is trained
    with several seeds and judged by images held out of the training images. A surface fitted to all of them gives
    the optimum with its uncertainty.

    --strategy guided trains at most a quarter of the grid, chosen by the surface; halving trains all for a few
    epochs and the best for more. coefficients.json is what `triscale scale --coefficients` takes.
    """

    strategy: Strategy = option("grid, halving or guided", metavar="S", default=Strategy.GRID)
    step: float = option("of the grid", metavar="X", default=0.05)
    tolerance: float = option("of alpha x beta^2 x gamma^2 around 2", metavar="X", default=0.1)
    alpha: str | None = option("lowest and highest alpha, such as 1.0,1.5", metavar="A,B")
    beta: str | None = option("lowest and highest beta", metavar="A,B")
    gamma: str | None = option("lowest and highest gamma", metavar="A,B")
    seeds: int = option("trainings of each candidate", metavar="N", default=3)
    held_out: float = option("part of the training images that judges", metavar="X", default=0.2)


def run(options: Options) -> None:
    """Train what is missing, then draw and tell."""
    with sigterm_ends("search coefficients"):
        with signals_held():
            import triscale.evaluators
            import triscale.search.record  # noqa: F401
        _run(options)


def _run(options: Options) -> None:
    from triscale.cli import search_study
    from triscale.cli.progress import watched
    from triscale.scaling import CompoundScaling, scaling_to_json
    from triscale.search.coefficients import coefficient_search, summary
    from triscale.storage import write_text

    verb, began_s = "search coefficients", time.monotonic()
    folder = study_folder(options, verb)
    options = as_begun(options, folder)
    deadline_s = search_study.deadline_of(options)
    ranges = {
        name: parse_range(word) for name in ("alpha", "beta", "gamma") if (word := getattr(options, name)) is not None
    }
    baseline, evaluator = search_study.evaluator_of(options, held_out=options.held_out)
    planner = coefficient_search(
        baseline,
        strategy=options.strategy.value,
        step=options.step,
        tolerance=options.tolerance,
        ranges=ranges,
        seeds=options.seeds,
        epochs=evaluator.recipe.epochs,
        watch=lambda triples: watched(triples, "making candidates", total=len(triples)),
    )
    if options.dry_run:
        search_study.describe_plan(planner, evaluator)
        _describe(planner)
        return
    with search_study.executor_of(options) as executor:
        search_study.begin_folder(folder)
        conducted = search_study.conduct(
            options, verb, planner, evaluator, folder=folder, executor=executor, deadline_s=deadline_s
        )
    found = summary(planner, conducted.trials)
    paths = search_study.write_results(
        options, verb, folder, [(planner, conducted)], found, baseline=baseline.name, kind="coefficients"
    )
    if found.best is not None:
        best = CompoundScaling(found.best.alpha, found.best.beta, found.best.gamma)
        write_text(folder / COEFFICIENTS_FILE, scaling_to_json(best))
    if options.json:
        print((folder / search_study.RESULTS_FILE).read_text(encoding="utf-8"), end="")
        return
    _tell(found, folder)
    search_study.tell_files(folder, paths, conducted, verb, began_s)


def _describe(planner: "CoefficientPlanner") -> None:
    """What --dry-run shows beneath the networks."""
    from triscale.cli.output import print_pairs, print_paragraph

    found = planner.candidates
    triples = sum(len(each.triples) for each in found.kept)
    left_out = f"; {len(found.left_out)} more have none of these macs" if found.left_out else ""
    print_pairs([("grid", f"{triples} coefficients make {len(found.kept)} different networks{left_out}")])
    if planner.strategy != Strategy.GRID:
        print()
        print_paragraph("Results decide which networks are trained; those above stand for them, at the same cost.")


def _tell(found: "CoefficientsSummary", folder: Path) -> None:
    from triscale.cli.output import print_paragraph, print_table, table

    trained = [candidate for candidate in found.candidates if candidate.mean is not None]
    rows = table("alpha", "beta", "gamma", "macs", "trainings", "top-1", "error", left=0)
    for candidate in sorted(trained, key=lambda candidate: -(candidate.mean or 0.0))[:10]:
        error = "" if candidate.standard_error is None else f"{candidate.standard_error:.2%}"
        rows.add_row(
            f"{candidate.alpha:g}",
            f"{candidate.beta:g}",
            f"{candidate.gamma:g}",
            f"{candidate.macs / 1e6:.2f}M",
            str(len(candidate.scores)),
            f"{candidate.mean:.2%}",
            error,
        )
    print()
    print_table(rows)
    if found.best is None:
        return
    best, others = found.best, len(found.indistinguishable)
    noise = "one training each tells nothing about noise: take more --seeds"
    if best.low is not None and best.high is not None:
        noise = (
            f"95% interval {best.low:.2%} to {best.high:.2%}; {others} other candidate{'s' * (others != 1)} "
            f"{'are' if others != 1 else 'is'} within noise of it"
        )
    print()
    print_paragraph(f"best: alpha {best.alpha:g}, beta {best.beta:g}, gamma {best.gamma:g}: {best.mean:.2%}, {noise}")
    if found.surface is not None:
        named = [
            f"{name} {getattr(found.surface.optimum, name):.3g} ({low:.3g} to {high:.3g})"
            for name in ("alpha", "beta", "gamma")
            for low, high in [getattr(found.surface, name)]
        ]
        print_paragraph(f"the surface's optimum, with 95% intervals: {', '.join(named)}")
    print()
    # Not wrapped: a person copies it.
    print(f"triscale scale NET --macs BUDGET --coefficients {shlex.quote(str(folder / COEFFICIENTS_FILE))}")
