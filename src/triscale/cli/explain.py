"""`triscale explain`: where in images a network found what it says."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.options import nearest, option, positional
from triscale.cli.output import check_output
from triscale.cli.progress import watched

if TYPE_CHECKING:
    from triscale.data.read import Source
    from triscale.explain.explanation import Explanation, View
    from triscale.explain.figure import Cell

EXAMPLE = """triscale explain photo.jpg --model efficientnet-lite0
triscale explain photos/ --class espresso -o cups --raw
triscale explain a.jpg --model efficientnet-lite0 efficientnet-lite2"""

MOST_ROWS = 40
"""Images in a figure that compares models."""
MOST_CELLS = 120
"""Images in the sheet of one model."""


def _method(word: str) -> str:
    from triscale.explain.explanation import Method

    methods = [method.value for method in Method]
    if word not in methods:
        raise ValueError(f"{word!r} is unknown; {nearest(word, methods)}")
    return word


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Show where in images the evidence for a class lies, as the paper's Figure 7.

    Writes each image with the class activation map of the predicted class, or of --class, over the part that the
    network saw, and a figure of all. Several models share a scale and stand side by side. A file that cannot be read
    is named on stderr and the rest go on; the exit code is 2 then.
    """

    images: tuple[str, ...] = positional("IMAGE", "files, folders, quoted patterns, or - for standard input")
    model: tuple[str, ...] = option(
        "model files, names with released weights, or hf-hub:owner/name", metavar="M", default=("efficientnet-lite0",)
    )
    class_: str | None = option("class to explain, by name or number (what is predicted)", metavar="NAME")
    method: str = option("cam or grad-cam (cam)", metavar="HOW", default="cam", parse=_method)
    output: Path = option(
        "folder, or a .png, .jpg or .pdf for the figure alone (explained)",
        metavar="PATH",
        default=Path("explained"),
        short="-o",
    )
    raw: bool = option("write the maps as arrays too (.npy, float32)", default=False)
    force: bool = option("overwrite files", default=False)
    json: bool = option("print one line of JSON an image", default=False)


def unique_names(names: Iterable[str]) -> list[str]:
    """`names` as parts of file names, numbered where one comes again; case counts for nothing."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^\w.+=-]+", "-", name)[:100].strip("-.") or "image"
        number, candidate = 1, plain
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{plain}-{number}"
        taken.add(candidate.casefold())
        found.append(candidate)
    return found


def model_title(word: str) -> str:
    """What a figure calls M: a release's name, a file's, or that of the run folder it lies in."""
    path = Path(word)
    if path.suffix.lower() in (".safetensors", ".json"):
        return path.resolve().parent.name if path.stem == "model" else path.stem
    return path.resolve().name if path.is_dir() else word.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Target:
    """Where one view of one image goes."""

    overlay: Path
    values: Path | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written."""

    targets: list[dict[str, Target]]
    """For each image, by model; empty where the figure alone is asked for."""
    figure: Path | None


def _targets(options: Options, sources: "Sequence[Source]", models: Sequence[str]) -> list[dict[str, Target]]:
    """For each image the files of each model's view, none where the figure alone is asked for."""
    from triscale.data.read import ImageBytes

    stems = unique_names("stdin" if isinstance(source, ImageBytes) else source.stem for source in sources)
    titles = {model: f"-{model}" if len(models) > 1 else "" for model in models}
    return [
        {
            model: Target(
                options.output / f"{stem}{title}-map.jpg",
                options.output / f"{stem}{title}-map.npy" if options.raw else None,
            )
            for model, title in titles.items()
        }
        for stem in stems
    ]


def _check(paths: Iterable[Path], *, force: bool) -> None:
    exists = next((path for path in paths if path.exists()), None)
    if exists is not None and not force:
        raise ValueError(f"{exists} exists; --force overwrites it, -o names another folder")


def _write(explanation: "Explanation", targets: dict[str, Target]) -> None:
    from triscale.explain.files import write_jpeg, write_map

    for view in explanation.views:
        target = targets.get(view.model)
        if target is None:
            continue
        write_jpeg(target.overlay, explanation.overlay(view))
        if target.values is not None:
            write_map(target.values, view.values)


def _print_text(explanation: "Explanation", targets: dict[str, Target]) -> None:
    print(explanation.path)
    for view in explanation.views:
        model = f"  {view.model}" if len(explanation.views) > 1 else ""
        says = "" if view.label == view.first else f", says {view.first.name} {view.first.probability:.2%}"
        print(f"  {view.label.probability:7.2%}  {view.label.name}{model}{says}")
        target = targets.get(view.model)
        for path in (target.overlay, target.values) if target else ():
            if path is not None:
                print(f"           {path}")


def _view_json(view: "View", target: Target | None) -> dict[str, Any]:
    return {
        "model": view.model,
        "label": asdict(view.label),
        "first": asdict(view.first),
        "logit": view.logit,
        "overlay": str(target.overlay) if target else None,
        "map": str(target.values) if target and target.values else None,
    }


def _print_json(explanation: "Explanation", targets: dict[str, Target]) -> None:
    import json

    data: dict[str, Any] = {"path": explanation.path}
    if explanation.error is not None:
        data["error"] = explanation.error
    else:
        data["views"] = [_view_json(view, targets.get(view.model)) for view in explanation.views]
    print(json.dumps(data, ensure_ascii=False))


def _figure_path(options: Options) -> Path | None:
    """The file that `--output` names, or None where it names a folder."""
    from triscale.explain.figure import FORMATS

    return options.output if options.output.suffix.lower() in FORMATS else None


def _draw(pictures: "Sequence[Sequence[Cell]]", models: Sequence[str], path: Path) -> None:
    from triscale.explain.figure import draw_comparison, draw_sheet

    if len(models) > 1:
        draw_comparison(pictures, models, path)
    else:
        draw_sheet([cell for cells in pictures for cell in cells], path)


def _explanations(options: Options, sources: "Sequence[Source]", models: Sequence[str]) -> "Iterator[Explanation]":
    from triscale.explain.explanation import Method, explain_images
    from triscale.models.weights import load

    loaded = dict(zip(models, map(load, options.model), strict=True))
    found = explain_images(loaded, sources, wanted=options.class_, method=Method(options.method))
    # On a terminal the results themselves show that it goes on.
    return found if sys.stdout.isatty() else watched(found, "explaining", total=len(sources))


def _plan(options: Options, sources: "Sequence[Source]", models: Sequence[str]) -> Plan:
    """What will be written; raises ValueError where any of it may not be."""
    alone = _figure_path(options)
    if alone is not None:
        if options.raw:
            raise ValueError("--raw writes a file for each image; let -o name a folder")
        check_output(alone, force=options.force)
        return Plan([{} for _ in sources], alone)
    targets = _targets(options, sources, models)
    files = [path for target in targets for one in target.values() for path in (one.overlay, one.values) if path]
    one_view = len(sources) * len(models) == 1
    figure = None if one_view else options.output / "figure.png"
    _check([*files, *([figure] if figure else [])], force=options.force)
    return Plan(targets, figure)


def run(options: Options) -> None:
    """Write pictures, say what each model says of every image, then complain of those that could not be read."""
    from triscale.data.find import find_images
    from triscale.explain.figure import compared, titled

    sources = list(find_images(options.images))
    models = unique_names(map(model_title, options.model))
    plan = _plan(options, sources, models)
    explanations = _explanations(options, sources, models)
    if plan.figure != options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    show = _print_json if options.json else _print_text
    most = MOST_ROWS if len(models) > 1 else MOST_CELLS
    rows: list[Sequence[Cell]] = []
    broken = 0
    for explanation, target in zip(explanations, plan.targets, strict=True):
        if explanation.error is not None:
            broken += 1
            print(f"triscale explain: {explanation.path}: {explanation.error}", file=sys.stderr)
            if options.json:
                show(explanation, target)
            continue
        _write(explanation, target)
        show(explanation, target)
        if plan.figure and len(rows) < most:
            rows.append(compared(explanation) if len(models) > 1 else (titled(explanation),))
    if plan.figure and rows:
        _draw(rows, models, plan.figure)
        _tell(plan.figure, shown=len(rows), of=len(sources) - broken, as_json=options.json)
    if broken:
        raise ValueError(f"{broken} of {len(sources)} images could not be read")


def _tell(figure: Path, *, shown: int, of: int, as_json: bool) -> None:
    import json

    if as_json:
        print(json.dumps({"figure": str(figure), "images": shown}, ensure_ascii=False))
    else:
        first = "" if shown == of else f", the first {shown} of {of} images"
        print(f"\nThe figure is in {figure}{first}.")
