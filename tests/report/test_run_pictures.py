"""The pictures of a run hold the figures of its log, and confusions are counted right."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triscale.report.confusion import (
    PAIRS,
    Confusion,
    confusion_figure,
    draw_confusion,
    most_confused,
    write_confusion,
    write_results,
)
from triscale.report.curves import curves, curves_figure, draw_curves


def log() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"event": "started", "step": 0, "steps_per_epoch": 10}]
    for epoch in (1, 2, 3):
        rows.append({"event": "train", "step": 10 * epoch, "epoch": epoch, "learning_rate": 0.1 / epoch})
        rows.append(
            {
                "event": "epoch",
                "step": 10 * epoch,
                "epoch": epoch,
                "train_loss": 1 / epoch,
                "minival_loss": 2 / epoch,
                "train_top1": epoch / 10,
                "minival_top1": epoch / 8,
                "best_epoch": min(epoch, 2),
            }
        )
    rows.insert(5, {"event": "resumed", "step": 20})
    rows.append({"event": "validation", "step": 30, "validation_top1": 0.2})
    return rows


def test_lines_are_the_figures_of_the_log() -> None:
    loss, top1, rate = curves_figure(curves(log())).axes
    lines = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in loss.lines}
    assert lines["training"] == [[1, 1], [2, 1 / 2], [3, 1 / 3]]
    assert lines["held out"] == [[1, 2], [2, 1], [3, 2 / 3]]
    assert [line.get_xdata() for line in loss.lines if line.get_label() == "resumed"] == [[2.0, 2.0]]
    lines = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in top1.lines}
    assert lines["held out"] == [[1, 12.5], [2, 25], [3, 37.5]]
    assert lines["kept, 25.00%"] == [[2, 25]], "what the run kept, which need not be the highest"
    assert lines["validation 20.00%"][0][1] == 20
    assert np.asarray(rate.lines[0].get_xydata()).tolist() == [[1, 0.1], [2, 0.05], [3, 0.1 / 3]]


def test_what_a_resumed_run_did_again_is_drawn_once(tmp_path: Path) -> None:
    rows = log()
    again = [*rows[:5], {"event": "epoch", "step": 30, "epoch": 3, "train_loss": 9.0, "train_top1": 0.0}, *rows[5:]]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in again), encoding="utf-8")
    from triscale.run_log import read_log

    assert curves(read_log(path)) == curves(rows)
    draw_curves(path, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"
        assert image.size == (800, 840)


def test_a_run_without_an_epoch_has_no_curves(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no finished epoch"):
        draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")


def confusion(size: int) -> Confusion:
    counts = np.diag(np.full(size, 6)) + np.roll(np.diag(np.full(size, 2)), 1, axis=1)
    return Confusion(tuple(f"class ${number}$" for number in range(size)), counts)


def test_cells_hold_counts_and_shares_of_rows() -> None:
    (axes,) = confusion_figure(confusion(3)).axes
    assert np.asarray(axes.images[0].get_array()).tolist() == confusion(3).shares.tolist()
    cells = {(*text.get_position()[::-1],): text.get_text() for text in axes.texts}
    assert cells[0, 0] == "6\n75%"
    assert cells[2, 0] == "2\n25%"
    assert len(cells) == 6
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class $0$", "class $1$", "class $2$"]


@pytest.mark.parametrize("size", [2, 10, 40, 100, 1000])
def test_a_picture_stays_readable_with_any_number_of_classes(size: int, tmp_path: Path) -> None:
    draw_confusion(confusion(size), tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as image:
        assert min(image.size) >= 400
        assert max(image.size) <= 1300
    (axes,) = confusion_figure(confusion(size)).axes
    assert bool(axes.images) == (size <= 60)
    if size > 60:
        assert sum(text.get_text() == "2" for text in axes.texts) == PAIRS


def test_most_confused_come_first() -> None:
    counts = np.array([[5, 3, 0], [1, 0, 1], [4, 0, 36]])
    pairs = [tuple(pair) for pair in most_confused(Confusion(("a", "b", "c"), counts))]
    assert pairs == [("c", "a", 4, 0.1), ("a", "b", 3, 3 / 8), ("b", "a", 1, 0.5), ("b", "c", 1, 0.5)]


def test_files_hold_counts_and_figures_of_each_class(tmp_path: Path) -> None:
    found = Confusion(('with "quotes", and comma', "b"), np.array([[3, 1], [0, 0]]))
    write_confusion(found, tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["label", *found.class_names],
            [found.class_names[0], "3", "1"],
            ["b", "0", "0"],
        ]
    write_results(tmp_path / "r.json", {"top1": 0.75}, found)
    results = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert results["top1"] == 0.75
    assert [row["top1"] for row in results["classes"]] == [0.75, None]
