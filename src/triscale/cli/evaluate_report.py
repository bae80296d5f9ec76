"""What `triscale evaluate` prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.output import print_pairs, print_table, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triscale.evaluation.intervals import Interval
    from triscale.evaluation.result import Evaluation

TITLES = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_per_class": "mean per class",
    "map": "mAP",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
}
WORST = 5
"""Classes and pairs printed."""
NAMED = 3
"""Broken images printed."""


def summary_as_json(found: "Evaluation", written: "Sequence[Path]") -> dict[str, Any]:
    """What evaluation.json holds but for the confusions, of which there may be a million, and the files' names."""
    from triscale.evaluation.result import evaluation_as_json

    content = evaluation_as_json(found)
    del content["confusion"]
    return {**content, "files": list(map(str, written))}


def print_evaluation(found: "Evaluation", data_classes: tuple[str, ...], written: "Sequence[Path]") -> None:
    """A heading, the figures, the worst classes, the pairs that are confused most, and where the rest is."""
    subject = found.subject
    count = f"{found.images:,} {subject.part} image{'s' * (found.images != 1)}"
    print(f"{subject.network} on {count} of {subject.data}\n")
    print_pairs(_figures(found, data_classes))
    _print_worst(found)
    _print_confused(found)
    print()
    print_pairs([("written", ", ".join(map(str, written)))])


def _figures(found: "Evaluation", data_classes: tuple[str, ...]) -> list[tuple[str, str]]:
    from triscale.data.errors import printable
    from triscale.evaluation.classes import unused_classes

    usual = found.subject.metric.value.replace("-", "_")
    names = [usual, *(name for name in TITLES if name in found.scores and name != usual)]
    pairs = [(TITLES[name], _in_words(found.scores[name])) for name in names]  # type: ignore[arg-type]
    pairs.append(("loss", f"{found.scores['loss']:.4f} nats"))
    if (calibration := found.calibration) is not None:
        after = f"{calibration.ece_after:.2%} with temperature {calibration.temperature:.3f}"
        pairs.append(("calibration error", f"{calibration.ece:.2%}, {after}"))
    speed = found.throughput
    pairs.append(
        ("speed", f"{speed.images_per_s:.1f} images/s, batches of {speed.batch_size}, {speed.engine} on {speed.device}")
    )
    if extra := unused_classes(found.class_names, data_classes):
        pairs.append(("not in the data", extra))
    if found.broken:
        listed = "; ".join(f"{printable(name)}: {printable(reason)}" for name, reason in found.broken[:NAMED])
        more = f"; {len(found.broken) - NAMED:,} more are named in evaluation.json" if len(found.broken) > NAMED else ""
        images = f"{len(found.broken):,} image{'s' * (len(found.broken) != 1)}"
        pairs.append(("left out", f"{images} that cannot be read: {listed}{more}"))
    return pairs


def _in_words(score: "Interval") -> str:
    return f"{score.value:.2%} ({score.low:.2%} to {score.high:.2%})"


def _print_worst(found: "Evaluation") -> None:
    from triscale.evaluation.result import ManyLabelClassScores

    def fared(place: int) -> float | None:
        each = found.classes[place]
        return each.average_precision if isinstance(each, ManyLabelClassScores) else each.recall

    known = {place: value for place in range(len(found.classes)) if (value := fared(place)) is not None}
    worst = sorted((place for place, value in known.items() if value < 1), key=lambda place: known[place])[:WORST]
    if not worst:
        return
    many = found.kind == "many-labels"
    rows = table("worst classes", "images", *(("AP",) if many else ()), "recall", "precision", "F1")
    for place in worst:
        each = found.classes[place]
        figures = (*((known[place],) if many else ()), each.recall, each.precision, each.f1)
        rows.add_row(each.name, f"{each.images:,}", *("-" if value is None else f"{value:.1%}" for value in figures))
    print()
    print_table(rows)


def _print_confused(found: "Evaluation") -> None:
    from triscale.report.confusion import Confusion, most_confused

    if found.confusion is None:
        return
    pairs = most_confused(Confusion(found.class_names, found.confusion), count=WORST)
    if not pairs:
        return
    rows = table("most confused", "taken for", "images", "share", left=2)
    for pair in pairs:
        rows.add_row(pair.label, pair.taken_for, f"{pair.images:,}", f"{pair.share:.1%}")
    print()
    print_table(rows)
