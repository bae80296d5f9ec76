"""What a search found as tables, for the page and as text."""

from collections.abc import Iterable

from triscale.report.search.records import SearchResults
from triscale.report.search.summaries import (
    BaselineSearch,
    Candidate,
    CoefficientSearch,
    Finalist,
    HandMade,
    Study,
    StudyRow,
    Way,
)
from triscale.report.search.table import NOTHING, Cell, Row, Table, count, mean_cell, per_cent


def tables(results: SearchResults) -> tuple[Table, ...]:
    """Those of the page, the most important first."""
    match results.summary:
        case Study() as study:
            found = [_study_table(study), *([_width_table(study)] if study.width_lines else [])]
        case CoefficientSearch() as search:
            found = [_candidate_table(search)]
        case BaselineSearch() as search:
            found = [_finalist_table(search), _front_table(search)]
    return tuple(found)


def coefficients_text(row: StudyRow) -> str:
    """Those that differ from 1, as the paper writes them: d=1.4 w=1.2 r=1.3."""
    named = (("d", row.depth), ("w", row.width), ("r", row.resolution))
    return " ".join(f"{name}={value:.3g}" for name, value in named if abs(value - 1) > 1e-9) or "1"


def study_table(results: SearchResults) -> Table:
    """The paper's Table 3: each way at each factor.

    Raises ValueError for another kind of search.
    """
    if not isinstance(results.summary, Study):
        raise ValueError(
            f"Table 3 compares ways to scale; these are the results of a search for {results.kind}, not a study"
        )
    return _study_table(results.summary)


def _study_table(study: Study) -> Table:
    best = {
        factor: max((row.mean for row in study.rows if row.factor == factor and row.mean is not None), default=None)
        for factor in {row.factor for row in study.rows if row.way is not Way.BASELINE}
    }
    return Table(
        key="ways",
        title="Ways to scale",
        heads=("way", "coefficients", "images", "macs", "params", "top-1, %", "seeds"),
        rows=tuple(
            Row(
                cells=(
                    Cell(row.way.value if row.way is Way.BASELINE else f"{row.way.value}, {row.factor:g}×"),
                    Cell(coefficients_text(row)),
                    Cell(str(row.pixels), row.pixels.height * row.pixels.width),
                    count(row.macs),
                    count(row.params),
                    mean_cell(row.mean, row.deviation),
                    Cell(str(len(row.scores))),
                ),
                chosen=row.way is not Way.BASELINE and row.mean is not None and row.mean == best[row.factor],
            )
            for row in study.rows
        ),
        note="After the paper's Table 3. Means over seeds ± their standard deviation; the highest mean of each "
        "factor is tinted. The verdicts above say which differences are more than noise.",
        texts=(1,),
    )


def _width_table(study: Study) -> Table:
    return Table(
        key="lines",
        title="Width lines",
        heads=("baseline", "width", "macs", "top-1, %", "seeds"),
        rows=tuple(
            Row(
                cells=(
                    Cell(f"d={point.depth:.3g} r={point.resolution:.3g}"),
                    Cell(f"w={point.width:.3g}", point.width),
                    count(point.macs),
                    mean_cell(point.mean, point.deviation),
                    Cell(str(len(point.scores))),
                )
            )
            for point in study.width_lines
        ),
        folded=True,
    )


def bymean_cell(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The best first, those without a score last."""
    return sorted(candidates, key=lambda each: (each.mean is None, -(each.mean or 0.0), each.triple))


def _candidate_table(search: CoefficientSearch) -> Table:
    return Table(
        key="ranking",
        title="Candidates by their mean",
        heads=("α, β, γ", "macs", "top-1, %", "standard error", "at equal macs", "seeds"),
        rows=tuple(
            Row(
                cells=(
                    Cell(f"{each.alpha:.4g}, {each.beta:.4g}, {each.gamma:.4g}"),
                    count(each.macs),
                    per_cent(each.mean),
                    per_cent(each.standard_error),
                    per_cent(each.adjusted),
                    Cell(str(len(each.scores))),
                ),
                badge="best" if search.is_best(each) else "within noise" if search.is_within_noise(each) else "",
                chosen=search.is_best(each),
            )
            for each in bymean_cell(search.candidates)
        ),
        note="Standard errors are of the mean, in points. At equal macs: the mean corrected for the macs that a "
        "candidate has more or less than the target.",
    )


def _finalist_table(search: BaselineSearch) -> Table:
    trained: list[Finalist | HandMade] = [*search.top, *filter(None, [search.hand_made])]
    return Table(
        key="finalists",
        title="Trained in full",
        heads=("network", "macs", "params", "top-1, %", "seeds", "file"),
        rows=tuple(
            Row(
                cells=(
                    Cell(each.name if isinstance(each, HandMade) else f"#{each.number}"),
                    count(each.macs),
                    count(each.params),
                    mean_cell(each.mean, each.deviation),
                    Cell(str(len(each.scores))),
                    Cell(each.file if isinstance(each, Finalist) else ""),
                ),
                badge="made by hand" if isinstance(each, HandMade) else "",
            )
            for each in trained
        ),
        note="Means over seeds ± their standard deviation." if trained else "No network has been trained in full.",
        texts=(5,),
    )


def _front_table(search: BaselineSearch) -> Table:
    front = [each for each in search.candidates if each.number in search.front]
    timed = [] if search.target_ms is None else ["ms"]
    return Table(
        key="front",
        title="Pareto front",
        heads=("sample", "macs", "params", "top-1, %", "reward", *timed),
        rows=tuple(
            Row(
                cells=(
                    Cell(f"#{each.number}"),
                    count(each.macs),
                    count(each.params),
                    per_cent(each.score),
                    Cell(NOTHING) if each.value is None else Cell(f"{each.value:.4f}", each.value),
                    *(_milliseconds(each.latency_ms) for _ in timed),
                )
            )
            for each in sorted(front, key=lambda each: each.macs)
        ),
        note="Samples that no other beats in both multiply-adds and score, by their short trainings.",
    )


def _milliseconds(latency_ms: float | None) -> Cell:
    return Cell(NOTHING) if latency_ms is None else Cell(f"{latency_ms:.2f}", latency_ms)


def table3(results: SearchResults) -> str:
    """The paper's Table 3 in Markdown, with a sentence for each verdict.

    Raises ValueError for another kind of search.
    """
    table = study_table(results)
    lines = [table.heads, tuple("---" for _ in table.heads)]
    lines += [tuple(cell.text for cell in row.cells) for row in table.rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    assert isinstance(results.summary, Study)
    verdicts = "".join(f"- {' '.join(verdict.text.split())}\n" for verdict in results.summary.verdicts)
    return text + ("\n" + verdicts if verdicts else "")
