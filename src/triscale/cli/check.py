"""`triscale check`: a dataset looked over before it is trained on."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.options import json_option, option, positional
from triscale.cli.output import check_output, print_json, print_pairs, print_table, table
from triscale.cli.progress import watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triscale.data.check import Repeat, Report, Spread

EXAMPLE = """triscale check photos/
triscale check /data/imagenet --resolution 224 -o broken.txt
triscale check 'shards/train-{000..127}.tar' --json"""

FOUND = 1
"""The exit code for a dataset with something wrong."""
SHOWN_REPEATS = 10
"""Groups printed without --all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Read every image of a dataset once, and say what is there and what is wrong.

    Broken images are named with the reason; training replaces them by others. Counted are classes, formats and
    sizes. Repeats are equal files, and pictures that look alike after resizing or saving anew: with different
    labels, or in both training and validation, they are worth a look.

    The exit code is 0 when all images can be read, 1 when some cannot, 2 for a mistake in the command. With --strict
    it is 1, too, for repeats with different labels or in both parts. Nothing is changed or deleted.
    """

    data: str = positional("DATA", "a folder, a CSV file, tar shards, or a dataset's name, as for train")
    resolution: int | None = option("count images with a side under so many pixels", metavar="PIXELS")
    output: Path | None = option("write the names of broken images, one a line", metavar="FILE", short="-o")
    force: bool = option("overwrite FILE", default=False)
    all: bool = option("print all repeats, not just the first", default=False)
    strict: bool = option("let repeats decide the exit code, too", default=False)
    workers: int | None = option("threads that read (one a core)", metavar="N")
    root: Path | None = option("folder of a named dataset's files", metavar="FOLDER")
    json: bool = json_option()


def run(options: Options) -> int:
    """Print the report; the exit code says whether something is wrong."""
    from triscale.data.check import check
    from triscale.data.datasets import open_dataset

    if options.output is not None:
        check_output(options.output, force=options.force)
    splits = open_dataset(options.data, root=options.root)
    report = check(
        splits,
        resolution=options.resolution,
        workers=options.workers,
        watch=lambda looks, total: watched(looks, "reading", total=total),
    )
    if options.output is not None:
        _write_names(options.output, report)
    if options.json:
        print_json(_as_json(report))
    else:
        _print_report(report, all_repeats=options.all)
    wrong = report.broken or (options.strict and (report.conflicts or report.leaks))
    return FOUND if wrong else 0


def _write_names(path: Path, report: "Report") -> None:
    from triscale.data.errors import printable
    from triscale.storage import atomic_path

    # A name of two lines would read as two files, and whoever deletes what is listed would delete another.
    names = (printable(broken.name) if "\n" in broken.name else broken.name for broken in report.broken)
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(os.fsencode(name) + b"\n" for name in names))


def _as_json(report: "Report") -> dict[str, Any]:
    from triscale.data.errors import printable

    data = asdict(report)
    data["broken"] = [broken._asdict() | {"name": printable(broken.name)} for broken in report.broken]
    data["repeats"] = [
        {
            "equal": repeat.equal,
            "across_classes": repeat.across_classes,
            "across_parts": repeat.across_parts,
            "members": [member._asdict() | {"name": printable(member.name)} for member in repeat.members],
        }
        for repeat in report.repeats
    ]
    return data


def _print_report(report: "Report", *, all_repeats: bool) -> None:
    _print_parts(report)
    print()
    print_pairs(_facts(report))
    _print_repeats(report, count=len(report.repeats) if all_repeats else SHOWN_REPEATS)
    _print_broken(report)


def _print_parts(report: "Report") -> None:
    rows = table("part", "images", "broken", "classes", "smallest", "largest")
    for part, images in report.images.items():
        counts = report.class_counts[part]
        broken = sum(broken.part == part for broken in report.broken)
        filled = sum(count > 0 for count in counts)
        rows.add_row(part, str(images), str(broken), str(filled), str(min(counts)), str(max(counts)))
    print_table(rows)


def _facts(report: "Report") -> list[tuple[str, str]]:
    counts = report.class_counts["train"]
    names = report.class_names
    smallest, largest = counts.index(min(counts)), counts.index(max(counts))
    facts = [("smallest class", f"{names[smallest]}, {counts[smallest]} images to train on")]
    facts.append(("largest class", f"{names[largest]}, {counts[largest]}"))
    if counts[smallest]:
        facts.append(("imbalance", f"{counts[largest] / counts[smallest]:.3g} to 1"))
    facts.append(("formats", ", ".join(f"{kind}: {count}" for kind, count in report.kinds.items()) or "none"))
    for name, spread in (("width", report.width), ("height", report.height), ("width / height", report.aspect)):
        if spread is not None:
            facts.append((name, _spread(spread)))
    if report.resolution is not None:
        facts.append((f"under {report.resolution} px", f"{report.below_resolution} images"))
    equal = [repeat for repeat in report.repeats if repeat.equal]
    alike = [repeat for repeat in report.repeats if not repeat.equal]
    facts.append(("equal files", _repeat_counts(equal)))
    facts.append(("look alike", _repeat_counts(alike)))
    return facts


def _spread(spread: "Spread") -> str:
    return f"{spread.least:.4g} to {spread.greatest:.4g}, median {spread.median:.4g}"


def _repeat_counts(repeats: "Sequence[Repeat]") -> str:
    if not repeats:
        return "none"
    images = sum(len(repeat.members) for repeat in repeats)
    labels = sum(repeat.across_classes for repeat in repeats)
    parts = sum(repeat.across_parts for repeat in repeats)
    groups = f"{len(repeats)} group{'s' * (len(repeats) > 1)}"
    return f"{images} images in {groups}; {labels} with different labels, {parts} in both parts"


def _print_repeats(report: "Report", *, count: int) -> None:
    from triscale.data.errors import printable

    # Those that spoil training or judging come first.
    ordered = sorted(report.repeats, key=lambda repeat: -(repeat.across_classes + repeat.across_parts))
    for repeat in ordered[:count]:
        what = "equal" if repeat.equal else "alike"
        labels = ", different labels" if repeat.across_classes else ""
        parts = ", in training and validation" if repeat.across_parts else ""
        print(f"\n{what}{labels}{parts}:")
        for member in repeat.members:
            print(f"  {printable(member.name)} ({member.class_name})")
    if len(ordered) > count:
        print(f"\n{len(ordered) - count} more groups; --all prints them")


def _print_broken(report: "Report") -> None:
    from triscale.data.errors import printable

    if not report.broken:
        print("\nEvery image can be read.")
        return
    number = len(report.broken)
    print(f"\n{number} image{'s' * (number > 1)} cannot be read:")
    for broken in report.broken:
        print(f"  {printable(broken.name)}: {printable(broken.reason)}")
