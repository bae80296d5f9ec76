"""`triscale export`: a model as files that other programs run, each proved before it is kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.options import json_option, option, positional
from triscale.cli.output import print_json, print_paragraph, print_table, table
from triscale.cli.progress import bars
from triscale.scaling import Unit, format_quantity

if TYPE_CHECKING:
    from triscale.deploy.export import Exported

EXAMPLE = """triscale export efficientnet-lite0 --to onnx native c
triscale export model.safetensors --to openvino -o flowers.xml --int8 photos/
triscale export model.safetensors --to onnx --batch 8 --threads 4 --json"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Write a model as ONNX, OpenVINO, torch.export, a packed file or a C library.

    Every file takes images as bytes: normalisation is a part of it. It is read back in its own runtime, compared with
    the network on photographs, and timed beside the others; the fastest on this machine is named. A file whose logits
    differ is an error, and nothing is left behind.

    With --int8, every format but torch is written in int8 where that is measured to be faster: layers are spared
    (float32, or 16 bits in our own engine) until top-1 on your images falls by no more than --largest-drop.
    """

    model: str = positional("MODEL", "model file, name with released weights, or hf-hub:owner/name")
    to: tuple[str, ...] = option(
        "onnx, openvino, torch, native, c: one or several", metavar="FORMAT", default=("onnx",)
    )
    output: Path | None = option(
        "file to write, named for its format, or the folder for several", metavar="PATH", short="-o"
    )
    images: tuple[str, ...] = option("compare on these files, folders or quoted patterns", metavar="IMAGE", default=())
    int8: str | None = option("images or a dataset that calibrate int8 and judge it", metavar="DATA")
    largest_drop: float = option("points of top-1 that int8 may cost", metavar="POINTS", default=0.5)
    batch: int | None = option("images that a graph takes at once (any number)", metavar="N")
    threads: int = option("of the CPU, for the times", metavar="N", default=1)
    force: bool = option("overwrite files", default=False)
    json: bool = json_option()


def _paths(options: Options, name: str) -> dict[str, Path]:
    """Where each format goes."""
    from triscale.deploy.export import FORMATS

    formats = list(dict.fromkeys(word for words in options.to for word in words.split(",")))
    suffixes = {each: FORMATS[each].suffix if each in FORMATS else "" for each in formats}
    if options.output is None or options.output.is_dir():
        return {each: (options.output or Path()) / f"{name}{suffix}" for each, suffix in suffixes.items()}
    if len(formats) > 1:
        raise ValueError(f"{len(formats)} formats need a folder that exists, not {options.output}")
    return {formats[0]: options.output}


def _stem(model: str) -> str:
    path = Path(model)
    return path.stem if path.suffix == ".safetensors" else path.name.rpartition(":")[2]


def _table(exported: "Exported") -> None:
    made = table("format", "precision", "ms", "fastest ms", "differs by", "size", "file", left=2)
    for each in sorted(exported.timed, key=lambda row: row.latency.median_ms):
        made.add_row(
            each.name,
            each.precision,
            f"{each.latency.median_ms:.2f}",
            f"{each.latency.fastest_ms:.2f}",
            "" if each.difference is None else f"{each.difference:.1e}",
            "" if each.size_bytes is None else format_quantity(each.size_bytes, Unit.BYTES),
            "" if each.path is None else str(each.path),
        )
    print_table(made)


def _sentences(exported: "Exported") -> Iterator[str]:
    one = "one image" if exported.batch is None else f"{exported.batch} images"
    threads = "1 thread" if exported.threads == 1 else f"{exported.threads} threads"
    yield (
        f"Middle and fastest times of {one} on {threads}, all in turns. The logits were compared with torch's on "
        f"{exported.compared} photographs."
    )
    for result in exported.int8:
        last = result.rounds[-1]
        cost = f"{last.fall}, with {len(last.kept)} of {result.layers} layers in {result.spared}"
        kept = "" if result.written else "; float32 was kept"
        yield f"{result.name} in int8: {cost}; {result.faster:.2f} times as fast as float32{kept}."
    best = exported.fastest
    ratio = exported.eager.latency.median_ms / best.latency.median_ms
    what = str(best.path) if best.path else "the model as it is"
    yield f"Use {what} on this machine: {ratio:.2f} times as fast as torch."


def _report(exported: "Exported") -> dict[str, Any]:
    return {
        "compared_images": exported.compared,
        "threads": exported.threads,
        "batch": exported.batch,
        "fastest": exported.fastest.name,
        "files": [
            {
                "format": each.name,
                "precision": each.precision,
                "median_ms": each.latency.median_ms,
                "fastest_ms": each.latency.fastest_ms,
                "largest_difference": each.difference,
                "bytes": each.size_bytes,
                "path": None if each.path is None else str(each.path),
            }
            for each in exported.timed
        ],
        "int8": [
            {
                "format": result.name,
                "written": result.written,
                "times_as_fast": result.faster,
                "layers": result.layers,
                "spared": result.spared,
                "rounds": [
                    {
                        "spared_layers": sorted(each.kept),
                        "before": each.fall.before,
                        "after": each.fall.after,
                        "images": each.fall.images,
                        "labelled": each.fall.labelled,
                    }
                    for each in result.rounds
                ],
            }
            for result in exported.int8
        ],
    }


def run(options: Options) -> None:
    """Write, read back, compare, time, and say which to use."""
    from triscale.deploy.export import Int8, export_model
    from triscale.models.weights import load

    paths = _paths(options, _stem(options.model))
    int8 = None if options.int8 is None else Int8(images=options.int8, largest_drop=options.largest_drop)
    with bars({}) as tell:
        exported = export_model(
            load(options.model),
            paths,
            int8=int8,
            images=options.images,
            batch=options.batch,
            threads=options.threads,
            overwrite=options.force,
            tell=tell,
        )
    if options.json:
        print_json(_report(exported))
        return
    _table(exported)
    print()
    for sentence in _sentences(exported):
        print_paragraph(sentence)
