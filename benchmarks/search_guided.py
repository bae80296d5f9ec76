"""What the guided search for coefficients finds with a quarter of a grid's trainings, beside as many at random.

    python -m benchmarks.search_guided [FOLDER] [--seeds 20] [--json]

FOLDER is that of a finished `triscale search coefficients` of the whole grid: nothing is trained again, the searches
take its scores. Without one, scores are made up: surfaces over the shares of depth, width and resolution, with what
rounding and seeds add. What is printed is how much accuracy was lost, in points, beside the grid's best candidate:
that of the chosen one, over all of its seeds.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import square
from triscale.arch.zoo import get_network
from triscale.report.search import read_results
from triscale.search.coefficients import coefficient_search, guided_on_grid, summary
from triscale.search.coefficients.planning import GridPlanner
from triscale.search.coefficients.surface import scheffe
from triscale.search.job import Result
from triscale.search.planner import Params, Pause, State, Trial

RANDOM_DRAWS = 1000
MADE_UP = {
    "depth": (0.92, 0.88, 0.88, 0.0, 0.0, 0.0),
    "resolution": (0.87, 0.88, 0.92, 0.0, 0.0, 0.0),
    "balanced": (0.85, 0.85, 0.85, 0.1, 0.1, 0.1),
    "depth and width": (0.85, 0.86, 0.84, 0.15, 0.0, 0.02),
}
"""Coefficients of d, w, r, dw, dr, wr."""
ROUNDING, NOISE = 0.002, 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One grid; losses in points of accuracy."""

    name: str
    trainings: int
    whole: int
    searches: int
    within_noise: int
    """Searches that chose the grid's best, or a candidate that the grid cannot tell from it."""
    guided_loss: float
    random_loss: float


def compared(name: str, grid: GridPlanner, trials: Sequence[Trial], *, seeds: int) -> Row:
    """Guided searches from so many seeds on one grid's scores, beside random choices of as many trainings."""
    found = [guided_on_grid(grid, trials, seed=seed) for seed in range(seeds)]
    best = summary(grid, trials).best
    assert best is not None
    scores = grid.scores(trials)
    every = [(place, score) for place, each in enumerate(scores) for score in each]
    generator = np.random.default_rng(0)
    lost = []
    for _ in range(RANDOM_DRAWS):
        seen: dict[int, list[float]] = {}
        for number in generator.permutation(len(every))[: found[0].trainings]:
            seen.setdefault(every[number][0], []).append(every[number][1])
        chosen = max(seen, key=lambda place: float(np.mean(seen[place])))
        lost.append(best.mean - float(np.mean(scores[chosen])))
    return Row(
        name=name,
        trainings=found[0].trainings,
        whole=found[0].whole,
        searches=seeds,
        within_noise=sum(each.within_noise for each in found),
        guided_loss=100 * float(np.mean([each.best - each.score for each in found])),
        random_loss=100 * float(np.mean(lost)),
    )


def of_folder(folder: Path) -> tuple[GridPlanner, list[Trial]]:
    """The grid that was trained in `folder`. Raises ValueError where there is none."""
    from triscale.cli.search_coefficients import Options, Strategy, parse_range
    from triscale.cli.search_options import as_begun
    from triscale.cli.search_study import evaluator_of

    results = read_results(folder / "results.json")
    options = as_begun(Options(output=folder), folder)
    if options.strategy is not Strategy.GRID:
        raise ValueError(f"{folder} holds a {options.strategy} search; name a grid's")
    baseline, evaluator = evaluator_of(options, held_out=options.held_out)
    words = {name: getattr(options, name) for name in ("alpha", "beta", "gamma")}
    grid = coefficient_search(
        baseline,
        step=options.step,
        tolerance=options.tolerance,
        ranges={name: parse_range(word) for name, word in words.items() if word is not None},
        seeds=options.seeds,
        epochs=evaluator.recipe.epochs,
    )
    assert isinstance(grid, GridPlanner)
    trials = [
        scored(each.number, each.params, each.score, each.images or 1)
        for each in results.trials
        if each.score is not None
    ]
    return grid, trials


def made_up() -> Iterator[tuple[str, GridPlanner, list[Trial]]]:
    """Grids around a small EfficientNet-B0 whose scores are known surfaces with noise."""
    small = scale(get_network("efficientnet-b0"), Coefficients(depth=0.5, width=0.25), name="small")
    grid = coefficient_search(replace(small, resolution=square(48)), step=0.1, seeds=3, epochs=1)
    assert isinstance(grid, GridPlanner)
    shares = np.array([each.shares for each in grid.candidates.kept])
    texts = list(grid.choices["coefficients"])
    for name, terms in MADE_UP.items():
        generator = np.random.default_rng(0)
        heights = scheffe(shares) @ np.array(terms) + generator.normal(0, ROUNDING, len(shares))
        trials: list[Trial] = []
        while not isinstance(params := grid.propose(trials), Pause):
            score = float(heights[texts.index(params["coefficients"])] + generator.normal(0, NOISE))
            trials.append(scored(len(trials), params, score, 10_000))
        yield f"made up: {name}", grid, trials


def scored(number: int, params: Params, score: float, images: int) -> Trial:
    """A training that has ended."""
    result = Result(score=score, images=images, seconds=0.0)
    return Trial(number=number, params=params, state=State.DONE, value=score, result=result)


def main() -> None:
    """Print a row for each grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    grids = made_up() if options.folder is None else [(str(options.folder), *of_folder(options.folder))]
    rows = [compared(name, grid, trials, seeds=options.seeds) for name, grid, trials in grids]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    print(f"{'grid':28} {'trainings':>12} {'within noise':>14} {'guided loses':>14} {'random loses':>14}")
    for row in rows:
        print(
            f"{row.name:28} {f'{row.trainings} of {row.whole}':>12} {f'{row.within_noise} of {row.searches}':>14} "
            f"{row.guided_loss:>14.2f} {row.random_loss:>14.2f}"
        )


if __name__ == "__main__":
    main()
