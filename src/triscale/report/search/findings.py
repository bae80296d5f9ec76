"""What a search found, in headlines and sentences, and how it was made."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from triscale.report.page.facts import Fact, Figure, duration
from triscale.report.page.records import Interval
from triscale.report.search.look import percent
from triscale.report.search.records import Kind, SearchResults, State
from triscale.report.search.summaries import (
    BaselineSearch,
    BesideHandMade,
    CoefficientSearch,
    Optimum,
    Study,
    Triple,
    Verdict,
    Way,
)
from triscale.scaling.quantities import format_quantity

TITLES: Final = {
    Kind.COEFFICIENTS: "Coefficients for {baseline} on {data}",
    Kind.BASELINE: "A baseline for {data}",
    Kind.STUDY: "Ways to scale {baseline} on {data}",
}


class Badge(StrEnum):
    """What noise, as far as seeds tell, leaves of a finding."""

    CLEAR = "clear"
    NOISE = "within noise"
    UNKNOWN = "noise unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A finding, and whether noise alone might explain it."""

    text: str
    badge: Badge


def page_title(results: SearchResults) -> str:
    """What was searched for, and where."""
    name = results.data.rstrip("/").rpartition("/")[2] or results.data
    return TITLES[results.kind].format(baseline=results.baseline, data=name)


def headlines(results: SearchResults) -> tuple[Figure, ...]:
    """The figures on top of the page, the most telling first."""
    match results.summary:
        case Study() as study:
            return tuple(_study(study))
        case CoefficientSearch() as search:
            return tuple(_coefficients(search))
        case BaselineSearch() as search:
            return tuple(_baseline(search))


def _seeds(scores: tuple[float, ...], deviation: float | None) -> str:
    count = "one seed" if len(scores) == 1 else f"{len(scores)} seeds"
    return count if deviation is None else f"± {100 * deviation:.1f} over {count}"


def _study(study: Study) -> Iterator[Figure]:
    """Each way at the largest factor that has scores, the highest first, then the baseline."""
    scaled = [row for row in study.rows if row.way is not Way.BASELINE and row.mean is not None]
    largest = max((row.factor for row in scaled), default=0.0)
    rows = sorted((row for row in scaled if row.factor == largest), key=lambda row: -(row.mean or 0.0))
    for row in (*rows, *(row for row in study.rows if row.way is Way.BASELINE and row.mean is not None)):
        assert row.mean is not None
        name = row.way.value.capitalize() + ("" if row.way is Way.BASELINE else f", {row.factor:g}×")
        yield Figure(title=name, value=percent(row.mean), note=_seeds(row.scores, row.deviation))


def _triple(triple: Triple) -> str:
    return ", ".join(f"{value:.3g}" for value in triple)


def _optimum(title: str, best: Optimum) -> Iterator[Figure]:
    yield Figure(title=f"α, β, γ: {title}", value=_triple(best.triple))
    interval = None
    if best.low is not None and best.high is not None:
        interval = Interval(best.mean, max(0.0, best.low), min(1.0, best.high))
    yield Figure(
        title=f"Top-1: {title}",
        value=percent(best.mean),
        interval=interval,
        note="" if interval is not None else "one seed: noise is unknown",
    )


def _coefficients(search: CoefficientSearch) -> Iterator[Figure]:
    if search.best is not None:
        yield from _optimum("best candidate", search.best)
    if search.surface is not None:
        yield from _optimum("fitted surface", search.surface.optimum)


def _baseline(search: BaselineSearch) -> Iterator[Figure]:
    trained = [each for each in search.top if each.mean is not None]
    if trained:
        best = max(trained, key=lambda each: each.mean or 0.0)
        assert best.mean is not None
        note = f"{format_quantity(best.macs)} macs, {_seeds(best.scores, best.deviation)}"
        yield Figure(title=f"Best found, #{best.number}", value=percent(best.mean), note=note)
    if (made := search.hand_made) is not None and made.mean is not None:
        note = f"{format_quantity(made.macs)} macs, {_seeds(made.scores, made.deviation)}"
        yield Figure(title="Made by hand", value=percent(made.mean), note=note)
    if search.best_so_far:
        yield Figure(title="Highest reward", value=f"{search.best_so_far[-1].reward:.4f}", note=f"of {search.strategy}")
    yield Figure(title="Looked at", value=f"{len(search.candidates):,}", note="networks")


def _badge(verdict: Verdict | BesideHandMade) -> Badge:
    if verdict.low is None:
        return Badge.UNKNOWN
    return Badge.NOISE if verdict.within_noise else Badge.CLEAR


def sentences(results: SearchResults) -> tuple[Sentence, ...]:
    """Verdicts, with what noise says of them."""
    match results.summary:
        case Study() | BaselineSearch() as found:
            return tuple(Sentence(text=each.text, badge=_badge(each)) for each in found.verdicts)
        case CoefficientSearch() as search if search.best is not None:
            close = sum(search.is_within_noise(each) for each in search.candidates)
            if search.best.low is None:
                text = "One seed tells nothing about noise: train from more seeds to know which candidates differ."
                return (Sentence(text=text, badge=Badge.UNKNOWN),)
            if close:
                others = "1 other candidate is" if close == 1 else f"{close} other candidates are"
                return (
                    Sentence(
                        text=f"{others} within noise of the best: more seeds are needed to tell.", badge=Badge.NOISE
                    ),
                )
            return (Sentence(text="No other candidate is within noise of the best.", badge=Badge.CLEAR),)
    return ()


def made(results: SearchResults) -> tuple[Fact, ...]:
    """Data, settings, machine and hours."""
    return tuple(Fact(name, value) for name, value in _made(results) if value)


def _made(results: SearchResults) -> Iterator[tuple[str, str]]:
    yield "Data", results.data
    yield "Baseline", results.baseline
    match results.summary:
        case CoefficientSearch() as search:
            yield (
                "Search",
                f"{search.strategy}, steps of {search.step:g}, within {search.tolerance:g} of the constraint",
            )
            yield "Target", f"{format_quantity(search.target_macs)} multiply-adds"
        case BaselineSearch() as search:
            yield "Search", f"{search.strategy}, reward {search.reward}, cost in {search.cost}"
            macs, target_ms = search.target_macs, search.target_ms
            yield (
                "Target",
                f"{target_ms:g} ms for an image" if macs is None else f"{format_quantity(macs)} multiply-adds",
            )
    yield "Trials", f"{results.done:,} done, {len(results.failed):,} failed"
    yield "Training", f"{duration(3600 * results.training_hours)}, summed over trainings"
    yield "Ran on", ", ".join(filter(None, (results.machine, results.executor)))
    yield "Made with", ", ".join(f"{name} {version}" for name, version in results.versions.items())
    yield "Date", results.date


def unfinished(results: SearchResults) -> str:
    """How far a search that stopped early came; nothing for one that ended."""
    if results.complete:
        return ""
    whole = len(results.trials) if results.planned is None else results.planned
    running = sum(trial.state is State.RUNNING for trial in results.trials)
    begun = "that were begun " if results.planned is None else ""
    text = f"Stopped early: {results.done:,} of {whole:,} trials {begun}are done"
    return text + (f", {running:,} still ran" if running else "") + "."
