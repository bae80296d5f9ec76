"""`triscale study`: what depth, width, resolution and compound scaling are worth at equal multiply-adds."""

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from triscale.cli.leaving import signals_held, sigterm_ends
from triscale.cli.options import option
from triscale.cli.search_options import SearchOptions, as_begun, study_folder
from triscale.scaling import EFFICIENTNET_SCALING, CompoundScaling, parse_scaling, read_scaling

if TYPE_CHECKING:
    from triscale.search.comparison_summary import StudySummary

EXAMPLE = """triscale study --data fashion-mnist --factor 4 --seeds 3 -o runs/study
triscale study --baseline mobilenetv2 --data photos/ --factor 2 4 8
triscale study -o runs/study --resume"""

FIGURE4 = ((1.0, 1.0), (1.0, 1.3), (2.0, 1.0), (2.0, 1.3))
"""Depth and resolution coefficients of the lines of Figure 4."""


class Way(StrEnum):
    """What a network is scaled in."""

    DEPTH = "depth"
    WIDTH = "width"
    RESOLUTION = "resolution"
    COMPOUND = "compound"


def parse_ways(word: str) -> tuple[Way, ...]:
    """Ways with commas between them.

    Raises ValueError for one that does not exist.
    """
    valid = [way.value for way in Way]
    for part in word.split(","):
        if part not in valid:
            raise ValueError(f"{part!r} is no way to scale; valid: {', '.join(valid)}")
    return tuple(Way(part) for part in word.split(","))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(SearchOptions):
    """Compare depth, width, resolution and compound scaling at equal multiply-adds.

    The baseline is scaled each way to the same exact multiply-adds (within 3%), each network is trained from scratch
    with several seeds and judged by the validation images. Figures 3 and 8 and Table 3 of the paper are drawn, with
    a verdict that says where a difference is within noise; --figure4 also scales width at several depths and
    resolutions.

    Before it starts it says what it will cost. Whatever stops it, the same command with --resume goes on.
    """

    factor: tuple[float, ...] = option("times the baseline's multiply-adds (4)", metavar="X", default=(4.0,))
    ways: str = option("depth,width,resolution,compound or some", metavar="W", default=",".join(Way))
    seeds: int = option("trainings of each network", metavar="N", default=3)
    coefficients: str | None = option("alpha,beta,gamma of compound scaling, or a search's file", metavar="A,B,G")
    figure4: bool = option("also scale width at other depths and resolutions", default=False)


def _scaling(options: Options) -> CompoundScaling:
    text = options.coefficients
    if text is None:
        return EFFICIENTNET_SCALING
    return read_scaling(Path(text)) if text.endswith(".json") else parse_scaling(text)


def run(options: Options) -> None:
    """Train what is missing, then draw and tell."""
    with sigterm_ends("study"):
        with signals_held():
            import triscale.evaluators
            import triscale.search.record  # noqa: F401
        _run(options)


def _run(options: Options) -> None:
    from triscale.cli import search_study
    from triscale.search import comparison
    from triscale.search.comparison_summary import summary

    began_s = time.monotonic()
    folder = study_folder(options, "study")
    options = as_begun(options, folder)
    deadline_s = search_study.deadline_of(options)
    ways = tuple(comparison.Way(way.value) for way in parse_ways(options.ways))
    baseline, evaluator = search_study.evaluator_of(options, held_out=None)
    study = comparison.scaling_study(
        baseline,
        ways=ways,
        factors=options.factor,
        scaling=_scaling(options),
        seeds=options.seeds,
        width_lines=FIGURE4 if options.figure4 else (),
    )
    if options.dry_run:
        search_study.describe_plan(study, evaluator)
        return
    with search_study.executor_of(options) as executor:
        search_study.begin_folder(folder)
        conducted = search_study.conduct(
            options, "study", study, evaluator, folder=folder, executor=executor, deadline_s=deadline_s
        )
    found = summary(study, conducted.trials)
    paths = search_study.write_results(
        options, "study", folder, [(study, conducted)], found, baseline=baseline.name, kind="study"
    )
    if options.json:
        print((folder / search_study.RESULTS_FILE).read_text(encoding="utf-8"), end="")
        return
    _tell(found, folder)
    search_study.tell_files(folder, paths, conducted, "study", began_s)


def _tell(found: "StudySummary", folder: Path) -> None:
    from triscale.cli.output import print_paragraph, print_table, table
    from triscale.report.search import read_results, study_table

    shown = study_table(read_results(folder / "results.json"))
    rows = table(*shown.heads, left=2)
    for row in shown.rows:
        rows.add_row(*(cell.text for cell in row.cells))
    print()
    print_table(rows)
    for verdict in found.verdicts:
        print()
        print_paragraph(verdict.text)
