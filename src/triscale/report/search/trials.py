"""All trials of a search: as a table for the page, and as a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from triscale.report.search.records import SearchResults, Trial
from triscale.report.search.table import NOTHING, Cell, Row, Table, count, per_cent
from triscale.storage import atomic_path

MOST_TRIALS: Final = 1000
"""Of the page; the CSV file has all."""
COLUMNS: Final = (
    *("number", "state", "network", "macs", "params", "resolution", "seed", "epochs"),
    *("score", "images", "seconds", "value", "same_as", "error"),
)


def choices_text(trial: Trial) -> str:
    """A trial's parameters."""
    return ", ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in trial.params.items()
    )


def trial_table(trials: Sequence[Trial]) -> Table:
    """The first of them, for the page."""
    shown = trials[:MOST_TRIALS]
    return Table(
        key="trials",
        title=f"All {len(trials):,} trials" if len(shown) == len(trials) else f"The first {len(shown):,} trials",
        heads=("trial", "state", "network", "choices", "macs", "seed", "epochs", "score, %", "value", "seconds"),
        rows=tuple(
            Row(
                cells=(
                    Cell(str(each.number)),
                    Cell(each.state.value if each.same_as is None else f"same as {each.same_as}"),
                    Cell(each.network.name),
                    Cell(choices_text(each)),
                    count(each.network.macs),
                    Cell(str(each.seed)),
                    Cell("" if each.epochs is None else str(each.epochs)),
                    per_cent(each.score),
                    Cell(NOTHING) if each.value is None else Cell(f"{each.value:.4f}", each.value),
                    Cell(NOTHING) if each.seconds is None else Cell(f"{each.seconds:.1f}", each.seconds),
                )
            )
            for each in shown
        ),
        note="" if len(shown) == len(trials) else f"results.json has all {len(trials):,}.",
        folded=True,
        texts=(1, 2, 3),
    )


def write_csv(results: SearchResults, path: Path) -> None:
    """Write a row for each trial; what was chosen for it stands in columns of its own, named choice: and its name."""
    chosen = sorted({name for trial in results.trials for name in trial.params})
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *(f"choice:{name}" for name in chosen)])
        for each in results.trials:
            net = each.network
            figures = (each.seed, each.epochs, each.score, each.images, each.seconds, each.value, each.same_as)
            error = " ".join(each.error.split())
            writer.writerow(
                [each.number, each.state.value, net.name, net.macs, net.params, net.resolution, *figures, error]
                + [each.params.get(name, "") for name in chosen]
            )
