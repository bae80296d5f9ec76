"""`triscale evaluate`: how good a model is on labelled images, or its answers to images without labels."""

import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.cli.options import json_option, option, positional
from triscale.cli.progress import watched

if TYPE_CHECKING:
    from triscale.data.dataset import ImageDataset
    from triscale.evaluation.result import Evaluation
    from triscale.evaluation.run import Answers
    from triscale.models.files import Model

EXAMPLE = """triscale evaluate photos/ --model runs/photos/model.safetensors
triscale evaluate oxford-iiit-pets --model runs/pets -o evaluations/pets
triscale evaluate imagenet/ --model efficientnet-lite0 --json
triscale evaluate unlabelled/ --model runs/photos --submission answers.csv"""


class Part(StrEnum):
    """Which images are judged by."""

    VALIDATION = "validation"
    TRAIN = "train"


METRICS = ("top1", "mean-per-class", "map")
FORMATS = ("csv", "imagenet")


def _one_of(*valid: str) -> Any:
    def parse(word: str) -> str:
        if word not in valid:
            raise ValueError(f"{word!r} is unknown; valid: {', '.join(valid)}")
        return word

    return parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Judge a model by labelled images, each prepared as the model was trained.

    Prints accuracies with 95 % intervals, calibration, and which classes are hard. The folder gets report.html, a page
    with all of it and the worst mistakes, evaluation.json, and predictions.csv with a line an image. Classes of model
    and data are matched by name. A broken image is named and left out; the exit code is 2 only where none can be read.

    With --submission, DATA is a folder, file or quoted pattern of images without labels, and the file gets the five
    likeliest classes of each.
    """

    data: str = positional("DATA", "a folder, a CSV file, tar shards, or a dataset's name, as for train")
    model: str | None = option("model file, run folder, name with released weights, or hf-hub:owner/name", metavar="M")
    output: Path | None = option("folder for what is found (evaluations/DATA-M)", metavar="FOLDER", short="-o")
    part: Part = option("validation or train", metavar="PART", default=Part.VALIDATION)
    metric: str | None = option(
        "top1, mean-per-class or map (customary for DATA)", metavar="METRIC", parse=_one_of(*METRICS)
    )
    validation_fraction: float = option("held back where DATA has no such part", metavar="X", default=0.2)
    root: Path | None = option("folder of a named dataset's files", metavar="FOLDER")
    submission: Path | None = option("write answers to unlabelled images", metavar="FILE")
    format: str = option("of the submission: csv or imagenet", metavar="F", default="csv", parse=_one_of(*FORMATS))
    indices: bool = option("submit classes by number, from 0", default=False)
    force: bool = option("overwrite an evaluation or a submission", default=False)
    batch_size: int | None = option("images that pass the network together", metavar="N")
    workers: int | None = option("threads that read images (one a core)", metavar="N")
    device: str | None = option("cpu, cuda or cuda:N (a GPU where there is one)", metavar="DEVICE")
    json: bool = json_option()


def run(options: Options) -> None:
    """Print figures or write answers."""
    if options.model is None:
        raise ValueError("name the model to judge: --model runs/photos/model.safetensors")
    if options.submission is not None:
        _submit(options, options.model, options.submission)
    else:
        _evaluate(options, options.model)


def _evaluate(options: Options, name: str) -> None:
    from triscale.cli.evaluate_report import print_evaluation, summary_as_json
    from triscale.cli.output import print_json
    from triscale.data.dataset import Metric
    from triscale.data.datasets import open_dataset
    from triscale.data.datasets.table6 import usual_metric
    from triscale.evaluation.result import Subject
    from triscale.evaluation.run import evaluate
    from triscale.evaluation.scores import score, thresholds_of
    from triscale.models.weights import load
    from triscale.train.distributed import default_device, own_device

    folder = options.output or Path("evaluations") / f"{_short(options.data)}-{_short(name)}"
    _check_folder(folder, force=options.force)
    splits = open_dataset(options.data, validation_fraction=options.validation_fraction, root=options.root)
    dataset = splits.train if options.part is Part.TRAIN else splits.validation
    metric = Metric(options.metric) if options.metric else usual_metric(options.data, dataset.labels)
    model = load(name)
    answers = evaluate(
        model,
        dataset,
        batch_size=options.batch_size,
        workers=options.workers,
        device=own_device(options.device or default_device()),
        watch=lambda batches, total: watched(batches, "classifying", total=total),
    )
    subject = Subject(
        model=name, network=model.network.spec.name, data=options.data, part=options.part.value, metric=metric
    )
    thresholds = thresholds_of(model.card, answers.class_names)
    found = score(answers, subject, thresholds=thresholds)
    written = [*_write(found, answers, thresholds, folder), *_write_page(folder, model, dataset, answers)]
    if options.json:
        print_json(summary_as_json(found, written))
    else:
        print_evaluation(found, dataset.class_names, written)


def _check_folder(folder: Path, *, force: bool) -> None:
    """Raise ValueError, before any work is done, where an evaluation could not or should not be written."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"cannot write into {folder}: it is a file; name a folder")
    if (folder / "evaluation.json").exists() and not force:
        raise ValueError(f"{folder} holds an evaluation; --force overwrites it, -o names another folder")


def _short(name: str) -> str:
    """What to call data or a model in the name of a folder."""
    path = Path(name.partition(":")[2] if name.startswith(("hf-hub:", "torchvision:")) else name.partition(":")[0])
    stem = path.parent.name if path.name == "model.safetensors" and path.parent.name else path.stem
    return re.sub(r"[^\w.]+", "-", stem).strip("-.") or "data"


def _write(found: "Evaluation", answers: "Answers", thresholds: tuple[float, ...] | None, folder: Path) -> list[Path]:
    from triscale.evaluation.predictions import write_predictions
    from triscale.evaluation.result import write_evaluation
    from triscale.report.confusion import Confusion, draw_confusion

    folder.mkdir(parents=True, exist_ok=True)
    write_evaluation(found, folder / "evaluation.json")
    write_predictions(answers, folder / "predictions.csv", thresholds=thresholds)
    written = [folder / "evaluation.json", folder / "predictions.csv"]
    if found.confusion is not None:
        title = f"{found.subject.network} on {found.subject.data}"
        draw_confusion(Confusion(found.class_names, found.confusion), folder / "confusion.png", title=title)
        written.append(folder / "confusion.png")
    return written


def _write_page(folder: Path, model: "Model", dataset: "ImageDataset", answers: "Answers") -> list[Path]:
    """The worst mistakes with their maps, and the page; what goes wrong is told, and the figures stay."""
    from triscale.cli.run_page import MISTAKES, worst_mistakes
    from triscale.data.dataset import has_many_labels
    from triscale.explain.mistakes import write_mistakes
    from triscale.report.page.write import write_page

    written = []
    try:
        if not has_many_labels(answers.labels):
            mistakes = worst_mistakes(answers, model.card.class_names)
            written.append(write_mistakes(folder, model, dataset, mistakes, count=MISTAKES))
        written.append(write_page(folder))
    except (OSError, ValueError) as error:
        print(f"triscale evaluate: the figures are whole, the page is not: {error}", file=sys.stderr)
    return written


def _submit(options: Options, name: str, path: Path) -> None:
    from triscale.cli.output import check_output, print_json
    from triscale.data.find import find_images
    from triscale.deploy.eager import eager_engine
    from triscale.deploy.predict import predict
    from triscale.evaluation.predictions import FIRST, SubmissionFormat, write_submission
    from triscale.models.weights import load
    from triscale.train.distributed import default_device, own_device

    check_output(path, force=options.force)
    sources = list(find_images([options.data]))
    model = load(name)
    format = SubmissionFormat(options.format)
    numbers = _imagenet_numbers(model) if format is SubmissionFormat.IMAGENET else ()
    device = own_device(options.device or default_device())
    predictions = predict(
        model,
        sources,
        top=FIRST,
        batch_size=options.batch_size or 16,
        workers=options.workers,
        engine=eager_engine(model, device=device),
    )
    broken = write_submission(
        watched(predictions, "classifying", total=len(sources)),
        path,
        format=format,
        indices=options.indices,
        numbers=numbers,
    )
    for image, reason in broken:
        print(f"triscale evaluate: {image}: {reason}", file=sys.stderr)
    if options.json:
        print_json({"submission": str(path), "images": len(sources) - len(broken), "broken": [*map(list, broken)]})
    else:
        first = min(FIRST, model.network.spec.classes)
        print(f"wrote {path}: the {first} likeliest classes of {len(sources) - len(broken):,} images")
    if broken:
        raise ValueError(f"{len(broken)} of {len(sources)} images could not be read; {path} lacks them")


def _imagenet_numbers(model: "Model") -> tuple[int, ...]:
    """What ImageNet's server calls the model's classes."""
    from triscale.imagenet import imagenet_challenge_numbers, imagenet_class_names

    if model.card.class_names != imagenet_class_names():
        raise ValueError(
            f"--format imagenet needs a model with ImageNet's 1,000 classes; {model.network.spec.name} has others"
        )
    return imagenet_challenge_numbers()
