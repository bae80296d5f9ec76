"""What ends a run: its model is judged, its worst mistakes and its costs are written, and the page that shows them."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from triscale.arch import NetworkSpec, Resolution, get_network
from triscale.cost import network_cost

if TYPE_CHECKING:
    from triscale.data.dataset import ImageDataset, Metric
    from triscale.deploy.costs import Compared
    from triscale.evaluation.run import Answers
    from triscale.explain.mistakes import Mistake
    from triscale.models.files import Model

MISTAKES = 12
SIDES = 2
"""Alternatives on either side of the run's own network."""


def finish_page(
    path: Path,
    dataset: "ImageDataset",
    *,
    data: str,
    verb: str,
    metric: "Metric | None" = None,
    device: str | None = None,
    workers: int | None = None,
) -> list[str]:
    """Judge model.safetensors in the run folder `path` by `dataset` and write all that its page shows, and the page.

    `data` is what the user calls the dataset. Returns the files' names. Nothing of this can undo a finished run: what
    goes wrong is told on stderr in a line for each part, as `triscale VERB`, and the page does without that part.
    """
    from triscale.models.files import load_model
    from triscale.report.page.write import write_page

    written: list[str] = []

    def part(what: str, write: Callable[[], Sequence[str]]) -> None:
        try:
            written.extend(write())
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"triscale {verb}: the model is whole, {what} missing: {reason}", file=sys.stderr)

    def judged() -> list[str]:
        model = load_model(path / "model.safetensors")
        answers = _judge(path, model, dataset, data=data, metric=metric, device=device, workers=workers)
        part("the worst mistakes are", lambda: _write_mistakes(path, model, dataset, answers))
        part("the costs are", lambda: write_run_costs(path, model))
        return ["evaluation.json", "predictions.csv"]

    part("its evaluation is", judged)
    part("the page is", lambda: [write_page(path).name])
    return written


def _judge(
    path: Path,
    model: "Model",
    dataset: "ImageDataset",
    *,
    data: str,
    metric: "Metric | None",
    device: str | None,
    workers: int | None,
) -> "Answers":
    """Write evaluation.json and predictions.csv."""
    from triscale.cli.progress import watched
    from triscale.data.datasets.table6 import usual_metric
    from triscale.evaluation.predictions import write_predictions
    from triscale.evaluation.result import Subject, write_evaluation
    from triscale.evaluation.run import evaluate
    from triscale.evaluation.scores import score, thresholds_of
    from triscale.train.distributed import default_device, own_device

    answers = evaluate(
        model,
        dataset,
        workers=workers or None,
        device=own_device(device or default_device()),
        watch=lambda batches, total: watched(batches, "judging", total=total),
    )
    subject = Subject(
        model=str(path / "model.safetensors"),
        network=model.network.spec.name,
        data=data,
        part="validation",
        metric=metric or usual_metric(data, dataset.labels),
    )
    thresholds = thresholds_of(model.card, answers.class_names)
    write_evaluation(score(answers, subject, thresholds=thresholds), path / "evaluation.json")
    write_predictions(answers, path / "predictions.csv", thresholds=thresholds)
    return answers


def _write_mistakes(path: Path, model: "Model", dataset: "ImageDataset", answers: "Answers") -> list[str]:
    from triscale.data.dataset import has_many_labels
    from triscale.explain.mistakes import write_mistakes

    if has_many_labels(answers.labels):
        return []
    write_mistakes(path, model, dataset, worst_mistakes(answers, model.card.class_names), count=MISTAKES)
    return ["mistakes.json"]


def worst_mistakes(answers: "Answers", outputs: Sequence[str]) -> "list[Mistake]":
    """Wrong answers to images with one label, the surest first; `outputs` are the classes by the model's outputs."""
    from triscale.evaluation.scores import choices
    from triscale.explain.mistakes import Mistake

    found = choices(answers.logits, answers.labels)
    (wrong,) = (found.predicted != answers.labels).nonzero()
    surest_first = wrong[(-found.probability[wrong]).argsort(kind="stable")]
    names = answers.class_names
    output = {name: index for index, name in enumerate(outputs or names)}
    return [
        Mistake(
            index=int(answers.indices[place]),
            label=names[answers.labels[place]],
            predicted=output[names[found.predicted[place]]],
            probability=float(found.probability[place]),
            probability_of_label=float(found.probability_of_label[place]),
        )
        for place in surest_first.tolist()
    ]


def write_run_costs(path: Path, model: "Model") -> list[str]:
    """Measure the run's network beside others, in seconds, and write costs.json."""
    from triscale.deploy.costs import FILE, Compared, measure_costs, write_costs

    spec, tried = model.network.spec, list(_tried(model))
    own = Compared(name=spec.name, spec=spec)
    # A choice puts the best, which the run began from, first.
    rows = [replace(own, score=tried[0].score), *tried[1:]] if tried else [own, *alternatives(spec)]
    write_costs(measure_costs(rows), path / FILE)
    return [FILE]


def _tried(model: "Model") -> "Iterator[Compared]":
    """The networks among which a budget's choice was made; none where nothing was chosen."""
    from triscale.deploy.costs import Compared
    from triscale.models.weights.releases import find_release

    told, spec = model.card.provenance, model.network.spec
    for row in told.get("candidates", told.get("start", {}).get("candidates", ())):
        release = find_release(row["name"])
        # A run of another version may have begun from what this one does not know.
        if release is not None:
            size = Resolution(*row["resolution"])
            other = replace(get_network(release.network), resolution=size, classes=spec.classes)
            yield Compared(name=release.name, spec=other, top1=release.top1 / 100, score=row["score"])


def alternatives(spec: NetworkSpec) -> "list[Compared]":
    """Released networks, for the classes of `spec`, with their ImageNet top-1.

    Of those that no cheaper one surpasses, the two that come before `spec` by multiply-adds and the two after.
    """
    from triscale.deploy.costs import Compared
    from triscale.models.weights.releases import releases

    best: list[tuple[int, Compared]] = []
    native = ((release, get_network(release.network)) for release in releases() if release.name == release.network)
    costed = ((network_cost(each).macs, each, release.top1 / 100) for release, each in native)
    for macs, each, top1 in sorted(costed, key=lambda row: (row[0], -row[2])):
        if not best or top1 > (best[-1][1].top1 or 0):
            best.append((macs, Compared(name=each.name, spec=replace(each, classes=spec.classes), top1=top1)))
    own = network_cost(spec).macs
    others = [row for row in best if row[1].name != spec.name]
    below = [row for row in others if row[0] <= own][-SIDES:]
    above = [row for row in others if row[0] > own][: 2 * SIDES - len(below)]
    return [each for _, each in (*below, *above)]
