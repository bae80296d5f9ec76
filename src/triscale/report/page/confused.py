"""Which classes were taken for which, and by which images: what the page's matrix is drawn from."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from triscale.report.confusion import Confusion, Pair, most_confused
from triscale.report.page.records import Answer, Evaluation, Run

LARGEST_TABLE: Final = 30
"""Up to so many classes the matrix is a table with a button in each cell; more are drawn."""
NAMED: Final = 24
"""Images named for a cell."""
ALL_NAMED: Final = 12_000
"""Images named for all cells together; mistakes come first."""
PAIRS: Final = 20


def shared_folder(run: Run) -> str:
    """The folder in which all images lie that answers and mistakes name, with a slash behind; empty without one."""
    names = [each.image for each in run.answers] + [each.image for each in run.mistakes or ()]
    if not names or not all(name.startswith("/") for name in names):
        return ""
    return os.path.commonpath([os.path.dirname(name) for name in names]).rstrip("/") + "/"  # noqa: PTH120


def named_within(run: Run, folder: str) -> Run:
    """`run` with images named as they are within `folder`, a `shared_folder`."""
    return replace(
        run,
        answers=tuple(each._replace(image=each.image.removeprefix(folder)) for each in run.answers),
        mistakes=None
        if run.mistakes is None
        else tuple(replace(each, image=each.image.removeprefix(folder)) for each in run.mistakes),
    )


def confused_pairs(evaluation: Evaluation) -> list[Pair]:
    """The pairs of classes with the most images."""
    assert evaluation.confusion is not None
    return most_confused(Confusion(evaluation.class_names, evaluation.confusion), count=PAIRS)


def confusion_data(evaluation: Evaluation, answers: Sequence[Answer]) -> dict[str, Any]:
    """For the script: class names, every cell with images as [row, column, images], and the images of cells by name.

    Mistakes that the model was surest of come first; of the images it got right, those it was least sure of.
    """
    assert evaluation.confusion is not None
    rows, columns = np.nonzero(evaluation.confusion)
    counts = evaluation.confusion[rows, columns]
    return {
        "names": list(evaluation.class_names),
        "cells": np.stack([rows, columns, counts], 1).tolist(),
        "images": _images(evaluation, answers),
    }


def _images(evaluation: Evaluation, answers: Sequence[Answer]) -> dict[str, list[list[Any]]]:
    number = {name: index for index, name in enumerate(evaluation.class_names)}
    cells: dict[tuple[int, int], list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.label in number and answer.predicted in number:
            cells[number[answer.label], number[answer.predicted]].append(answer)
    named: dict[str, list[list[Any]]] = {}
    room = ALL_NAMED
    for (row, column), images in sorted(cells.items(), key=lambda item: item[0][0] == item[0][1]):
        images.sort(key=lambda answer: answer.probability if row == column else -answer.probability)
        chosen = images[: min(NAMED, room)]
        room -= len(chosen)
        if chosen:
            named[f"{row},{column}"] = [
                [each.image, round(each.probability, 4), round(each.probability_of_label, 4)] for each in chosen
            ]
    return named
