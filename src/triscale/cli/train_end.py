"""What a finished run leaves behind and says: pictures, figures of each class, and what to do next."""

import json as json_format
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from triscale.cli.output import print_pairs
from triscale.cli.train_view import Subject

if TYPE_CHECKING:
    from triscale.train.evaluate import Judgement

FIRST = 3
"""Broken images named at the end."""
PAGE = "report.html"
FIGURES = {"top1": "top-1", "top5": "top-5", "mean_per_class": "mean per class", "map": "mAP"}
"""What the log calls accuracies, and what people do."""


def _broken(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names, in the order in which they were found, each once."""
    return list(dict.fromkeys(str(row["image"]) for row in rows if row["event"] == "broken image" and "image" in row))


def write_pictures(subject: Subject, class_names: tuple[str, ...], found: "Judgement | None") -> list[str]:
    """Draw the run's curves and, where it was validated now, its confusions; returns the files' names.

    Nothing of this can undo a finished run: what the disk refuses is told in a line.
    """
    from triscale.report.confusion import Confusion, draw_confusion, write_confusion, write_results
    from triscale.report.curves import draw_curves
    from triscale.train.evaluate import Evaluation

    path, title = subject.path, f"{subject.recipe.network.name} on {subject.data}"
    written = []
    try:
        draw_curves(path / "log.jsonl", path / "curves.png", title=title)
        written.append("curves.png")
        if isinstance(found, Evaluation):
            confusion = Confusion(class_names, found.confusion.cpu().numpy())
            figures = {"images": found.images, "top1": found.top1, "top5": found.top5, "loss": found.loss}
            write_results(path / "results.json", figures, confusion)
            write_confusion(confusion, path / "confusion.csv")
            draw_confusion(confusion, path / "confusion.png", title=title)
            written += ["confusion.png", "confusion.csv", "results.json"]
    except (OSError, ValueError) as error:
        print(f"triscale train: the model is whole, a picture is missing: {error}", file=sys.stderr)
    return written


def accuracies(row: Mapping[str, Any], part: str) -> str:
    """What an event of the log says of how well `part` was classified."""
    names = {f"{part}_{name}": title for name, title in FIGURES.items()}
    return ", ".join(f"{title} {row[name]:.2%}" for name, title in names.items() if name in row)


def summary(subject: Subject, rows: Sequence[Mapping[str, Any]], written: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values of what came out of the run that wrote `rows` into its log."""
    from triscale.report.curves import curves

    pairs = []
    last = next((row for row in reversed(rows) if row["event"] == "validation"), None)
    if last is not None:
        pairs.append(("validation", f"{accuracies(last, 'validation')} on {last['validation_images']:,} images"))
    best = curves(rows).best
    if best is not None:
        metric = FIGURES[subject.recipe.metric.replace("-", "_")]
        pairs.append(("held out", f"{metric} {best.value:.2%} after epoch {best.epoch:g}, whose weights were kept"))
    if broken := _broken(rows):
        more = ", ..." if len(broken) > FIRST else ""
        names = ", ".join(broken[:FIRST])
        pairs.append(("broken images", f"{len(broken):,}: {names}{more}"))
        pairs.append(("", f"find all with: triscale check {shlex.quote(subject.data)}"))
    model = subject.path / "model.safetensors"
    pairs.append(("model", str(model)))
    if PAGE in written:
        pairs.append(("page", str(subject.path / PAGE)))
    if others := [name for name in written if name != PAGE]:
        pairs.append(("beside it", ", ".join(others)))
    pairs.append(("next", f"triscale predict IMAGE --model {shlex.quote(str(model))}"))
    return pairs


def tell_end(
    subject: Subject, class_names: tuple[str, ...], found: "Judgement | None", pages: Sequence[str], *, json: bool
) -> None:
    """Write the pictures and print the summary, or one more line of JSON; `pages` are the files written already."""
    from triscale.run_log import read_log

    written = [*pages, *write_pictures(subject, class_names, found)]
    rows = read_log(subject.path / "log.jsonl")
    if json:
        broken = _broken(rows)
        row = {
            "event": "finished",
            "model": str(subject.path / "model.safetensors"),
            "files": [str(subject.path / name) for name in written],
            "broken_images": len(broken),
        }
        print(json_format.dumps(row, ensure_ascii=False))
        return
    print()
    print_pairs(summary(subject, rows, written))
